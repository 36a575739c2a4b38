"""Reading .npz and .npy files that came from elsewhere: no pickles, nothing allocated before its size is known."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.errors import InvalidFileError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ARCHIVE_ERRORS", "LARGEST_ARCHIVE", "METHODS", "read_npy", "read_npz"]

#: What zipfile raises for archives that are damaged, encrypted or compressed in ways it does not know.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
#: How numpy and qdeploy compress; the other ways of zipfile bring errors of their own, and not every Python has them.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What NumPy's reading of an .npy header, a Python literal, raises.
_HEADER_ERRORS = (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError)
#: Bound on the uncompressed bytes of one archive.
LARGEST_ARCHIVE = 512 << 20
_MOST_ARRAYS = 10_000
_LARGEST_HEADER = 10_000
# NumPy before version 2 has no more.
_MOST_AXES = 32
_LARGEST_LENGTH = 1 << 40
_ADVICE = "export again"


def read_npz(
    data: bytes, name: str, *, limit: int = LARGEST_ARCHIVE, advice: str = _ADVICE
) -> dict[str, npt.NDArray[Any]]:
    """All arrays of the archive ``data`` by their key; ``name`` stands for it in messages, which end in ``advice``.

    Accepts integers, floats, booleans and short strings. Raises InvalidFileError for anything else: a file that is not
    an archive, pickled objects, a header that promises more than the member holds, more than ``limit`` bytes in all.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_size(members, name, limit, advice)
            # The directory's size bounds what is read, also where the compressed data would unfold to more.
            return {
                _key(member, name, advice): read_npy(
                    _content(archive, member), f"{name}: array {member.filename!r}", advice=advice
                )
                for member in members
            }
    except InvalidFileError:
        raise
    except ARCHIVE_ERRORS as error:
        msg = f"{name}: is not a whole .npz archive ({str(error)[:200]}); {advice}"
        raise InvalidFileError(msg) from error


def _check_size(members: list[zipfile.ZipInfo], name: str, limit: int, advice: str) -> None:
    for member in members:
        if member.compress_type not in METHODS:
            msg = f"{name}: {member.filename!r} is compressed in another way than numpy's, stored or deflated; {advice}"
            raise InvalidFileError(msg)
    names = {member.filename for member in members}
    if len(names) != len(members):
        msg = f"{name}: found two arrays of one name; {advice}"
        raise InvalidFileError(msg)
    total = sum(member.file_size for member in members)
    if len(members) > _MOST_ARRAYS or total > limit:
        expected = f"at most {_MOST_ARRAYS} of {limit}"
        msg = f"{name}: found {len(members)} arrays of {total} bytes, expected {expected}; {advice}"
        raise InvalidFileError(msg)


def read_npy(data: bytes, name: str, *, advice: str = _ADVICE) -> npt.NDArray[Any]:
    """The array of an .npy file's bytes, under the same rules as ``read_npz``."""
    content = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(content)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(content, max_header_size=_LARGEST_HEADER)
    except _HEADER_ERRORS as error:
        msg = f"{name}: has no readable header ({str(error)[:200]}); {advice}"
        raise InvalidFileError(msg) from error
    if dtype.hasobject or dtype.kind not in "iufbU":
        msg = f"{name}: found elements of type {dtype}, expected numbers; pickled objects are never read; {advice}"
        raise InvalidFileError(msg)
    if not _is_shape(shape):
        msg = f"{name}: its header has {len(shape)} axes or one that no array has; {advice}"
        raise InvalidFileError(msg)
    # Python's integers: a header cannot overflow the product.
    promised = math.prod(shape) * dtype.itemsize
    held = len(data) - content.tell()
    if promised != held:
        msg = f"{name}: its header promises {promised} bytes for shape {shape}, the file holds {held}; {advice}"
        raise InvalidFileError(msg)
    flat = np.frombuffer(data, dtype, offset=content.tell())
    if dtype.kind == "U" and not _are_texts(flat):
        msg = f"{name}: holds a text with code points that no character has; {advice}"
        raise InvalidFileError(msg)
    return flat.reshape(shape, order="F" if fortran else "C").copy()


def _is_shape(shape: tuple[int, ...]) -> bool:
    """Whether NumPy can have an array of this shape; one length of 0 would let the others be anything."""
    return len(shape) <= _MOST_AXES and all(type(length) is int and 0 <= length < _LARGEST_LENGTH for length in shape)


def _are_texts(texts: npt.NDArray[Any]) -> bool:
    """Whether Python can make texts of these code points; surrogates could not be written anywhere."""
    if texts.itemsize == 0 or texts.size == 0:
        return True
    points = texts.view(np.dtype(np.uint32).newbyteorder(texts.dtype.byteorder))
    return not bool(((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any())


def _key(member: zipfile.ZipInfo, name: str, advice: str) -> str:
    if not member.filename.endswith(".npy"):
        msg = f"{name}: found a member {member.filename!r}, expected .npy arrays only; {advice}"
        raise InvalidFileError(msg)
    return member.filename.removesuffix(".npy")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as stream:
        return stream.read(member.file_size)
