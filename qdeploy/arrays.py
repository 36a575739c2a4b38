"""Reads arrays that people hand over: ``.npy`` and ``.npz`` files, without pickles and within bounds."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .runtime.errors import InvalidFileError, InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_BYTES", "read_arrays"]

MAX_BYTES = 8 << 30
"""Largest total of bytes that a file may unpack to; ten thousand float32 images of 224×224×3 are 6 GB."""

_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(path: str | Path, *, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` by their names, or the one array of an ``.npy`` under the name ``""``.

    Raises:
        InvalidInputError: the file does not exist or its name ends in neither.
        InvalidFileError: the file is truncated, corrupted, holds Python objects, or unpacks to more than ``max_bytes``.

    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file; expected an .npy or .npz file")
    if path.suffix not in {".npy", ".npz"}:
        raise InvalidInputError(
            f"{path}: expected a file that ends in .npy or .npz, as numpy.save and numpy.savez write"
        )
    try:
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                return {"": _read_array(stream, path.stat().st_size, str(path), max_bytes)}
        return _read_archive(path, max_bytes)
    except InvalidInputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InvalidFileError(
            f"{path}: truncated or corrupted, or not what its name says ({error}); write it again with numpy.save or "
            "numpy.savez"
        ) from error


def _read_archive(path: Path, max_bytes: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        total = sum(member.file_size for member in members)
        if total > max_bytes:
            raise InvalidFileError(f"{path}: unpacks to {total:,} bytes, more than the {max_bytes:,} that are read")
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                arrays[name] = _read_array(stream, member.file_size, f"{path}, array {name!r}", max_bytes)
    if not arrays:
        raise InvalidFileError(f"{path}: holds no array; expected what numpy.savez writes")
    return arrays


def _read_array(stream: IO[bytes], size: int, where: str, max_bytes: int) -> NDArray[Any]:
    """Check the header against the bytes that are there before anything is allocated."""
    reader = _HEADER_READERS.get(np.lib.format.read_magic(stream))
    if reader is None:
        raise InvalidFileError(f"{where}: an .npy version that is not read; write it again with numpy.save")
    shape, fortran, dtype = reader(stream)
    if dtype.hasobject:
        raise InvalidFileError(f"{where}: holds Python objects, which could run code; save numbers instead")
    declared = math.prod(shape) * dtype.itemsize
    if declared > max_bytes:
        raise InvalidFileError(f"{where}: {declared:,} bytes, more than the {max_bytes:,} that are read")
    if declared > size:
        raise InvalidFileError(f"{where}: truncated: {declared:,} bytes declared, the file has {size:,}")
    content = stream.read(declared)
    if len(content) != declared:
        raise InvalidFileError(f"{where}: truncated: {declared:,} bytes declared, {len(content):,} found")
    array = np.frombuffer(content, dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C").copy()
