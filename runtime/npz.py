"""Reading .npz archives that came from elsewhere: no pickles, and nothing is allocated before its size is known."""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.errors import InvalidFileError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["LARGEST_ARCHIVE", "read_npz"]

#: Bound on the uncompressed bytes of one archive.
LARGEST_ARCHIVE = 512 << 20
_MOST_ARRAYS = 10_000
_LARGEST_HEADER = 10_000


def read_npz(data: bytes, name: str, *, limit: int = LARGEST_ARCHIVE) -> dict[str, npt.NDArray[Any]]:
    """All arrays of the archive ``data`` by their key; ``name`` stands for it in messages.

    Accepts integers, floats, booleans and short strings. Raises InvalidFileError for anything else: a file that is not
    an archive, pickled objects, a header that promises more than the member holds, more than ``limit`` bytes in all.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > _MOST_ARRAYS or total > limit:
                msg = (
                    f"{name}: found {len(members)} arrays of {total} bytes, "
                    f"expected at most {_MOST_ARRAYS} of {limit}; export again"
                )
                raise InvalidFileError(msg)
            return {_key(member, name): _array(archive, member, name) for member in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        msg = f"{name}: is not a whole .npz archive ({error}); export again"
        raise InvalidFileError(msg) from error


def _key(member: zipfile.ZipInfo, name: str) -> str:
    if not member.filename.endswith(".npy"):
        msg = f"{name}: found a member {member.filename!r}, expected .npy arrays only; export again"
        raise InvalidFileError(msg)
    return member.filename.removesuffix(".npy")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> npt.NDArray[Any]:
    where = f"{name}: array {member.filename!r}"
    with archive.open(member) as stream:
        # The directory's size bounds what is read, also where the compressed data would unfold to more.
        content = io.BytesIO(stream.read(member.file_size))
    try:
        version = np.lib.format.read_magic(content)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(content, max_header_size=_LARGEST_HEADER)
    except (ValueError, KeyError, TypeError, SyntaxError) as error:
        msg = f"{where}: has no readable header ({error}); export again"
        raise InvalidFileError(msg) from error
    if dtype.hasobject or dtype.kind not in "iufbU":
        msg = f"{where}: found elements of type {dtype}, expected numbers; pickled objects are never read; export again"
        raise InvalidFileError(msg)
    promised = math.prod(shape) * dtype.itemsize
    held = member.file_size - content.tell()
    if min(shape, default=0) < 0 or promised != held:
        msg = f"{where}: its header promises {promised} bytes for shape {shape}, the file holds {held}; export again"
        raise InvalidFileError(msg)
    flat = np.frombuffer(content.getvalue(), dtype, offset=content.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()
