"""Reads arrays that people hand over: ``.npy`` and ``.npz`` files, without pickles and within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .runtime.errors import InvalidFileError, InvalidInputError
from .runtime.npz import read_npy, read_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_BYTES", "read_arrays"]

MAX_BYTES = 8 << 30
"""Largest total of bytes that a file may unpack to; ten thousand float32 images of 224×224×3 are 6 GB."""
_ADVICE = "write it again with numpy.save or numpy.savez"


def read_arrays(path: str | Path, *, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` by their names, or the one array of an ``.npy`` under the name ``""``.

    Raises:
        InvalidInputError: the file does not exist or its name ends in neither.
        InvalidFileError: the file is truncated, corrupted, holds Python objects, or unpacks to more than ``max_bytes``.

    """
    path = Path(path)
    if path.suffix not in {".npy", ".npz"}:
        raise InvalidInputError(
            f"{path}: expected a file that ends in .npy or .npz, as numpy.save and numpy.savez write"
        )
    try:
        # Not a device or a pipe, which have no end; one that is missing says so below.
        if path.exists() and not path.is_file():
            raise InvalidInputError(f"{path}: is no plain file; expected an .npy or .npz file")
        size = path.stat().st_size
        if size > max_bytes:
            raise InvalidFileError(f"{path}: {size:,} bytes, expected at most {max_bytes:,}; give fewer samples")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: no such file; expected an .npy or .npz file") from error
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read ({error.strerror}); expected an .npy or .npz file") from error
    if path.suffix == ".npy":
        return {"": read_npy(data, str(path), advice=_ADVICE)}
    arrays = read_npz(data, str(path), limit=max_bytes, advice=_ADVICE)
    if not arrays:
        raise InvalidFileError(f"{path}: holds no array; {_ADVICE}")
    return arrays
