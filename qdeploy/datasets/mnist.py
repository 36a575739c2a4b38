"""MNIST and its kin, in the IDX format of Y. LeCun's page (big-endian header, then unsigned bytes), gzipped or not."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidFileError, MissingDataError

__all__ = ["DATA_VARIABLE", "data_folder", "load_mnist", "permutation", "read_idx"]

DATA_VARIABLE = "QDEPLOY_DATA"
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# 60,000 images are 47 MB; whoever unpacks more than this unpacks a bomb.
MAX_BYTES = 1 << 28
_UNSIGNED_BYTE = 0x08


def data_folder() -> Path:
    """The folder of all data sets: ``$QDEPLOY_DATA``, by default ``~/.cache/qdeploy/data``."""
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else Path.home() / ".cache" / "qdeploy" / "data"


def permutation() -> NDArray[np.int64]:
    """The permutation [784] of permuted MNIST in the literature on orthogonal RNNs (seed 92916)."""
    return np.random.RandomState(92916).permutation(784).astype(np.int64)


def load_mnist(subfolder: str, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images [N, 784], pixel/256 in row order, and classes [N] of the set in ``subfolder`` of the data folder.

    The divisor is 256 rather than 255 so that a scale of 2^-8 represents every pixel exactly.

    Raises:
        MissingDataError: a file is not there; the message says which and where.
        InvalidFileError: a file is truncated, corrupted, or not what its name says.
    """
    folder = data_folder() / subfolder
    images_name, labels_name = FILES[split]
    images = read_idx(_find(folder, images_name), dimensions=3)
    labels = read_idx(_find(folder, labels_name), dimensions=1)
    if images.shape[1:] != (28, 28) or len(images) != len(labels):
        raise InvalidFileError(
            f"{folder}: found images {list(images.shape)} and {len(labels)} labels, expected [N, 28, 28] and N"
        )
    if len(labels) and int(labels.max()) > 9:
        raise InvalidFileError(f"{folder / labels_name}: found class {int(labels.max())}, expected 0 to 9")
    return images.reshape(-1, 784).astype(np.float32) / np.float32(256), labels.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    wanted = ", ".join(f"{file}.gz" for files in FILES.values() for file in files)
    raise MissingDataError(
        f"{folder / name}.gz is not there. Put the four files {wanted} (or the same without .gz) into {folder}, "
        f"or name another data folder, the one above {folder.name}, in the environment variable {DATA_VARIABLE}"
    )


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, gzipped where the name ends in ``.gz``.

    Raises:
        InvalidFileError: truncated, corrupted, too large, of another type or rank.
    """
    content = _read(path)
    header = 4 + 4 * dimensions
    expected_magic = _UNSIGNED_BYTE << 8 | dimensions
    if len(content) < header:
        raise InvalidFileError(f"{path}: {len(content)} bytes, expected an IDX header of {header} at least")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", content[:header])
    if magic != expected_magic:
        raise InvalidFileError(
            f"{path}: begins with {magic:#010x}, expected {expected_magic:#010x} "
            f"(IDX, unsigned bytes, {dimensions} dimensions)"
        )
    # Python's integers: a header cannot overflow the product.
    size = 1
    for length in shape:
        size *= length
    if len(content) - header != size:
        raise InvalidFileError(
            f"{path}: {len(content) - header} bytes of data, but its header says {shape}, {size} bytes: "
            "the file is truncated or corrupted; get it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                content = stream.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidFileError(f"{path}: truncated or not a gzip file ({error}); get it again") from error
    if len(content) > MAX_BYTES:
        raise InvalidFileError(f"{path}: more than {MAX_BYTES} bytes, which no set of this kind has")
    return content
