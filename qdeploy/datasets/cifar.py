"""CIFAR-10 and CIFAR-100 in the binary format of A. Krizhevsky's page: rows of label bytes and 3,072 planar pixel bytes.

The files may be plain, compressed (``.xz``, ``.gz``), or still in the archive as it is published. The page's Python version
holds pickles, which can run code; it is not read.
"""

from __future__ import annotations

import gzip
import json
import lzma
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from qdeploy.datasets.mnist import data_folder
from qdeploy.runtime.errors import InvalidFileError, MissingDataError

__all__ = ["CIFAR_10", "CIFAR_100", "Cifar", "load_cifar", "read_rows", "require_cifar"]

SIDE = 32
PIXELS = 3 * SIDE * SIDE
# CIFAR-100's training file is 154 MB; whoever unpacks more than this unpacks a bomb.
MAX_BYTES = 1 << 28
MAX_JSON_BYTES = 1 << 20
_OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    "": lambda path: path.open("rb"),
    ".xz": cast("Callable[[Path], IO[bytes]]", lzma.open),
    ".gz": cast("Callable[[Path], IO[bytes]]", gzip.open),
}


@dataclass(frozen=True)
class Cifar:
    """One of the two sets.

    Attributes:
        folder: its place in the data folder.
        archive: the name of the published archive, and ``members``, the folder in it.
        files: names by split; of the training files those that are there are read.
        label_bytes: how many label bytes a row begins with, of which the last is the class.
        classes: how many there are.
    """

    folder: str
    archive: str
    members: str
    files: dict[str, tuple[str, ...]]
    label_bytes: int
    classes: int


CIFAR_10 = Cifar(
    folder="cifar10",
    archive="cifar-10-binary.tar.gz",
    members="cifar-10-batches-bin",
    files={"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)},
    label_bytes=1,
    classes=10,
)
CIFAR_100 = Cifar(
    folder="cifar100",
    archive="cifar-100-binary.tar.gz",
    members="cifar-100-binary",
    files={"train": ("train.bin",), "test": ("test.bin",)},
    # A coarse class of 20, then the fine one of 100.
    label_bytes=2,
    classes=100,
)


def load_cifar(kind: Cifar, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [N, 3, 32, 32] of bytes, red, green, blue, and classes [N].

    Rows that the file ``inexact_rows.json`` names (``{"inexact": {"test_batch.bin": [row, ...]}}``) are left out: of them
    only lossy copies are at hand.

    Raises:
        MissingDataError: no file of the split is there; the message says which and where.
        InvalidFileError: a file is truncated, corrupted, or not what its name says.
    """
    folder = data_folder() / kind.folder
    left_out = _inexact_rows(folder / "inexact_rows.json")
    images, classes = [], []
    for name, content in _contents(folder, kind, split):
        rows = read_rows(content, kind, f"{folder / name}")
        kept = np.ones(len(rows), bool)
        kept[[row for row in left_out.get(name, []) if row < len(rows)]] = False
        rows = rows[kept]
        classes.append(rows[:, kind.label_bytes - 1].astype(np.int64))
        images.append(rows[:, kind.label_bytes :].reshape(-1, 3, SIDE, SIDE))
    return np.concatenate(images), np.concatenate(classes)


def read_rows(content: bytes, kind: Cifar, where: str) -> NDArray[np.uint8]:
    """The rows ``[N, label_bytes + 3072]`` of one file.

    Raises:
        InvalidFileError: not a whole number of rows, none, or a class that the set has not.
    """
    row = kind.label_bytes + PIXELS
    if not content or len(content) % row:
        raise InvalidFileError(
            f"{where}: {len(content)} bytes, expected a multiple of {row} ({kind.label_bytes} label bytes and {PIXELS} "
            "pixels a row): the file is truncated, or not of the binary version; get it again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    largest = int(rows[:, kind.label_bytes - 1].max())
    if largest >= kind.classes:
        raise InvalidFileError(f"{where}: found class {largest}, expected 0 to {kind.classes - 1}")
    return rows


def require_cifar(kind: Cifar, split: str) -> None:
    """Return where a file of the split, or the archive, is there; nothing is read. Raises MissingDataError elsewhere."""
    folder = data_folder() / kind.folder
    if not _files(folder, kind, split) and not (folder / kind.archive).is_file():
        raise _missing(folder, kind, split)


def _files(folder: Path, kind: Cifar, split: str) -> list[tuple[str, Path, Callable[[Path], IO[bytes]]]]:
    """Of each file of a split that lies in the folder: its name, path, and what opens it."""
    found = []
    for name in kind.files[split]:
        for suffix, open_file in _OPENERS.items():
            path = folder / (name + suffix)
            if path.is_file():
                found.append((name, path, open_file))
                break
    return found


def _contents(folder: Path, kind: Cifar, split: str) -> list[tuple[str, bytes]]:
    """Names and bytes of the files of a split, from the folder or else from the archive in it."""
    found = [(name, _read(path, open_file)) for name, path, open_file in _files(folder, kind, split)]
    archive = folder / kind.archive
    if not found and archive.is_file():
        found = _from_archive(archive, kind, split)
    if not found:
        raise _missing(folder, kind, split)
    return found


def _missing(folder: Path, kind: Cifar, split: str) -> MissingDataError:
    files = ", ".join(kind.files[split])
    return MissingDataError(
        f"{folder}: none of {files} (or these with .xz or .gz, or {kind.archive}) is there. Get the binary version, not the "
        f"Python one, from the set's page, and put it into {folder}, or name another data folder, the one above "
        f"{folder.name}, in the environment variable QDEPLOY_DATA"
    )


def _read(path: Path, open_file: Callable[[Path], IO[bytes]]) -> bytes:
    try:
        with open_file(path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InvalidFileError(
            f"{path}: truncated or not compressed as its name says ({error}); get it again"
        ) from error
    return _bounded(content, str(path))


def _from_archive(archive: Path, kind: Cifar, split: str) -> list[tuple[str, bytes]]:
    """Members are read into memory, never unpacked into a folder."""
    wanted = {f"{kind.members}/{name}": name for name in kind.files[split]}
    found = {}
    try:
        with tarfile.open(archive) as stream:
            for member in stream:
                if member.name in wanted and member.isfile():
                    content = stream.extractfile(member)
                    if content is not None:
                        found[wanted[member.name]] = _bounded(content.read(MAX_BYTES + 1), f"{archive}: {member.name}")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InvalidFileError(f"{archive}: truncated or no tar archive ({error}); get it again") from error
    return [(name, found[name]) for name in kind.files[split] if name in found]


def _bounded(content: bytes, where: str) -> bytes:
    if len(content) > MAX_BYTES:
        raise InvalidFileError(f"{where}: more than {MAX_BYTES} bytes, which no file of this kind has")
    return content


def _inexact_rows(path: Path) -> dict[str, list[int]]:
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_JSON_BYTES:
        raise InvalidFileError(f"{path}: {path.stat().st_size} bytes, expected at most 1 MiB")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["inexact"]
        valid = all(type(row) is int and row >= 0 for listed in rows.values() for row in listed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFileError(
            f"{path}: expected an object inexact of lists of rows by file name: {error!r}"
        ) from error
    if not valid:
        raise InvalidFileError(f"{path}: expected rows as integers from 0 on")
    return {str(name): list(listed) for name, listed in rows.items()}
