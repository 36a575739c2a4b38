"""Mutations of files of arrays: .npy, .npz and other zips, safetensors, IDX, torch's pickles."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib
from functools import cache
from random import Random
from typing import Any

import numpy as np

from .mutate_bytes import NUMBERS, TEXTS, mutate_bytes
from .mutate_json import mutate_json

_TYPES = (
    "<f4", ">f4", "<f2", "<f8", "|u1", "<i2", "<i4", "<i8", "|b1", "<U8", "|S4", "<c8", "|O", "<M8[s]", "|V4", "[('a', '<f4')]",
)  # fmt: skip
_HEADERS = ("{", "[" * 300, "{'descr': " * 80, "__import__('os')", "(" * 9000, "-" * 9000 + "1", "1" * 9000, "{}")
_NEW_TYPES = ("f2", "f4", "f8", ">f4", "u1", "i1", "i2", "u2", "i4", "i8", "u8", "?", "U5", "c8", "O", "S3", "g")
_SHAPES = (
    "()", "(0,)", "(1,)", "(1000000000000,)", "(2147483648, 2147483648, 4)", "(-1,)", "(4, -1)", "(3.0,)", "(True,)", "[2, 2]",
    "(" + "1, " * 40 + ")", "(" + "9" * 30 + ",)", "None", "'x'", "(0, 1000000000000000000000)", "(" + "9" * 5000 + ",)",
)  # fmt: skip


def mutate_npy(random: Random, data: bytes) -> bytes:
    """Another array, another header, or other bytes."""
    kind = random.randrange(4)
    if kind == 0:
        return mutate_bytes(random, data)
    if kind == 1:
        return npy(_array(random, np.load(io.BytesIO(data))))
    length = struct.unpack("<H", data[8:10])[0]
    header, rest = data[10 : 10 + length].decode("latin1"), data[10 + length :]
    found = np.lib.format.read_array_header_1_0(io.BytesIO(data[8:]))
    descr, fortran, shape = repr(found[2].str), str(found[1]), str(found[0])
    which = random.randrange(6)
    if which == 0:
        shape = random.choice(_SHAPES)
    elif which == 1:
        descr = repr(random.choice(_TYPES)) if random.random() < 0.9 else random.choice(_TYPES)
    elif which == 2:
        fortran = random.choice(("True", "False", "None", "1", "'x'"))
    elif which == 3:
        rest = random.choice((rest[:-1], rest + b"\0", b"", rest * 2))
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"
    if which == 4:
        header = random.choice(_HEADERS)
    version = random.choice((b"\1\0", b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0"))
    encoded = header.encode("latin1")
    size = random.choice((len(encoded),) * 6 + (0, 65535, len(encoded) + 1))
    packed = struct.pack("<H" if version == b"\1\0" else "<I", size)
    return b"\x93NUMPY" + version + packed + encoded + rest


def npy(array: np.ndarray) -> bytes:
    """The bytes of an .npy file; pickled where it holds objects."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _array(random: Random, array: np.ndarray) -> np.ndarray:
    changed: np.ndarray = array.copy()
    kind = random.randrange(6)
    if kind == 0 and changed.dtype.kind == "f" and changed.size:
        changed.reshape(-1)[random.randrange(changed.size)] = random.choice(
            (np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45)
        )
    elif kind == 1:
        dtype = random.choice(_NEW_TYPES)
        with np.errstate(all="ignore"), contextlib.suppress(ValueError):  # a text that is no number
            changed = changed.astype(dtype)
    elif kind == 2:
        shapes = [(), (0,), (1,), (-1,), (-1, 1), (1, -1), (1, 1, -1), (1, -1, 1, 1, 1)]
        shape = random.choice(shapes)
        changed = np.zeros(shape, changed.dtype) if -1 not in shape else changed.reshape(shape)
    elif kind == 3 and changed.ndim:
        axis = random.randrange(changed.ndim)
        changed = (
            np.take(changed, range(random.choice((0, 1, 2, 7))), axis=axis, mode="wrap")
            if changed.shape[axis]
            else changed
        )
    elif kind == 4 and changed.dtype.kind in "fiu":
        with np.errstate(all="ignore"):
            changed = (changed.astype(np.float64) * random.choice((0, -1, 255, 1000, 1e30))).astype(changed.dtype)
    else:
        changed = np.asfortranarray(changed)
    return changed


_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def unzip(data: bytes) -> list[tuple[str, bytes]]:
    """The members of an archive, in order."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def zipped(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of ``members``; names may stand in it twice."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo("x", (2020, 1, 1, 0, 0, 0))
            # Set afterwards: the constructor tidies names up.
            info.filename, info.compress_type = name, method
            archive.fp.seek(archive.start_dir)  # type: ignore[union-attr]  # an open archive has a stream
            archive.writestr(info, content)
    return stream.getvalue()


def mutate_npz(random: Random, data: bytes) -> bytes:
    """A member's array, the list of members, or the archive around them."""
    if random.random() < 0.5:
        members = unzip(data)
        index = random.randrange(len(members))
        members[index] = (members[index][0], mutate_npy(random, members[index][1]))
        return zipped(members, random.choice(_METHODS[:2]))
    return mutate_zip(random, data, ".npy")


def mutate_zip(random: Random, data: bytes, suffix: str = "") -> bytes:
    """The list of members, or the archive's own structures."""
    kind = random.randrange(6)
    if kind == 0:
        return mutate_bytes(random, data)
    members = unzip(data)
    index = random.randrange(len(members))
    name, content = members[index]
    if kind == 1:
        change = random.randrange(6)
        if change == 0:
            del members[index]
        elif change == 1:
            members.append(members[index])
        elif change == 2:
            odd = random.choice(TEXTS).replace("\0", "")
            members[index] = (odd + random.choice(("", suffix)), content)
        elif change == 3:
            members[index] = (name.removesuffix(suffix) + random.choice(("", "/", ".txt", "\\x")), content)
        elif change == 4:
            members += [(f"more{number}{suffix}", b"") for number in range(random.choice((1, 50, 1200, 11_000)))]
        else:
            # A bomb: a thousand times its size in the file.
            members[index] = (name, content + b"\0" * (1 << 24))
            return zipped(members)
        return zipped(members, random.choice(_METHODS))
    return _patched(random, zipped(members, random.choice(_METHODS)))


#: Offset and width of the numbers in an entry of the archive's directory, and in its end record.
_ENTRY = (
    (4, 2),
    (6, 2),
    (8, 2),
    (10, 2),
    (16, 4),
    (20, 4),
    (24, 4),
    (28, 2),
    (30, 2),
    (32, 2),
    (34, 2),
    (38, 4),
    (42, 4),
)
_END = ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))


def _patched(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    signature, fields = random.choice(
        ((b"PK\1\2", _ENTRY), (b"PK\1\2", _ENTRY), (b"PK\5\6", _END), (b"PK\3\4", _ENTRY[:8]))
    )
    starts = [place for place in range(len(changed) - 3) if changed[place : place + 4] == signature]
    if starts:
        offset, width = random.choice(fields)
        start = random.choice(starts) + offset
        number = random.choice((*NUMBERS, 0o120777 << 16, 8, 12, 14, 93, 99)) % (1 << 8 * width)
        changed[start : start + width] = number.to_bytes(width, "little")
    return bytes(changed)


def mutate_safetensors(random: Random, data: bytes) -> bytes:
    """The header's JSON, its length, or the bytes behind it."""
    kind = random.randrange(4)
    if kind == 0:
        return mutate_bytes(random, data)
    length = struct.unpack("<Q", data[:8])[0]
    header, rest = data[8 : 8 + length], data[8 + length :]
    if kind == 1:
        number = random.choice((*NUMBERS, length - 1, length + 1)) % (1 << 64)
        return struct.pack("<Q", number) + header + rest
    if kind == 2:
        # Numbers in the bytes: NaN, infinities and denormals among them.
        pattern = random.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\1\0\0\0", b"\xff\xff\x7f\x7f"))
        place = 4 * random.randrange(max(1, len(rest) // 4))
        return data[: 8 + length] + rest[:place] + pattern + rest[place + 4 :]
    header = mutate_json(random, header)
    return struct.pack("<Q", len(header)) + header + rest


def mutate_idx(random: Random, data: bytes) -> bytes:
    """An IDX file, gzipped here: the content, the header or the compressed bytes."""
    content = gzip.decompress(data)
    kind = random.randrange(5)
    if kind == 0:
        return mutate_bytes(random, data)
    if kind == 1:
        return gzip.compress(mutate_bytes(random, content), mtime=0)
    if kind == 2:
        place = 4 * random.randrange(4)
        number = random.choice(NUMBERS) % (1 << 32)
        return gzip.compress(content[:place] + struct.pack(">I", number) + content[place + 4 :], mtime=0)
    if kind == 3:
        return gzip.compress(content + b"\0" * random.choice((1, 1 << 10, 1 << 20)), 1, mtime=0) + _bomb(random)
    return random.choice((data + data, content, zlib.compress(content), data[:-4], data[:10] + data[18:]))


@cache
def _zeros() -> bytes:
    """A quarter of a gigabyte of zeros and a little more, compressed."""
    return gzip.compress(b"\0" * ((1 << 28) + 5), 1, mtime=0)


def _bomb(random: Random) -> bytes:
    return _zeros() if random.random() < 0.05 else b""


def mutate_torch(random: Random, data: bytes) -> bytes:
    """A file of torch.save: the values in it, the pickle in the archive, or the archive."""
    import torch

    kind = random.randrange(5)
    if kind == 0:
        return mutate_zip(random, data)
    if kind == 1:
        members = unzip(data)
        index = next(place for place, (name, _) in enumerate(members) if name.endswith("data.pkl"))
        members[index] = (members[index][0], mutate_bytes(random, members[index][1]))
        return zipped(members, zipfile.ZIP_STORED)
    content = torch.load(io.BytesIO(data), weights_only=True)
    if kind == 2 and random.random() < 0.3:
        return pickle.dumps(random.choice((content, {"a": 1}, _Code(), [1, 2])), protocol=random.choice((2, 4)))
    stream = io.BytesIO()
    torch.save(mutate_values(random, content), stream)
    return stream.getvalue()


class _Code:
    """A pickle that would run code; only its name is harmless."""

    def __reduce__(self) -> Any:
        return (print, ("code of a file was run",))


def mutate_values(random: Random, tree: Any) -> Any:
    """A copy of nested dicts, lists and tensors with one to two changes."""
    import torch

    tree = copy.deepcopy(tree)
    for _ in range(random.choice((1, 1, 2))):
        places = list(_places(tree))
        if not places:
            return random.choice((None, [], {}, 3))
        container, key = random.choice(places)
        value = container[key]
        # A second change finds the first one's tensor, which may have no numbers to change.
        dense = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if dense and random.random() < 0.6:
            container[key] = random.choice(
                (value.double(), value.reshape(-1), value[..., None], value * float("nan"), value * 1e30, value.to(torch.int32),
                 value.half(), torch.zeros(0), value.to("meta"), value.to_sparse(), value.expand(2, *value.shape), -value)
            )  # fmt: skip
        elif random.random() < 0.25:
            del container[key]
        elif random.random() < 0.15 and isinstance(container, dict):
            container[random.choice((*TEXTS, 3, None, (1, 2)))] = value
        else:
            container[key] = random.choice(
                (
                    None,
                    True,
                    -1,
                    0,
                    10**30,
                    1.5,
                    float("nan"),
                    "text",
                    [],
                    {},
                    [{}],
                    (1,),
                    torch.zeros(2),
                    *NUMBERS,
                    b"bytes",
                )
            )
    return tree


def _places(value: Any) -> Any:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def mutate_manifested(random: Random, text: bytes) -> bytes:
    """JSON that must stay readable: one change of the tree only."""
    changed = mutate_json(random, text)
    try:
        json.loads(changed)
    except (ValueError, RecursionError):
        return text
    return changed
