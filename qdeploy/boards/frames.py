"""Messages between this machine and an emulated one: a header of plain values, then arrays by name.

A frame is eight bytes of length (little endian), the header as JSON, its arrays' names included, then for each array eight
bytes of length and an .npy file. Nothing in it is ever executed.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

__all__ = ["receive", "send"]

Array = npt.NDArray[Any]

_LENGTH = struct.Struct("<Q")
_LARGEST = 1 << 32
_ARRAYS = "arrays"


def send(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Writes one message."""
    _put(stream, json.dumps({**header, _ARRAYS: list(arrays)}).encode())
    for array in arrays.values():
        content = io.BytesIO()
        np.lib.format.write_array(content, array, allow_pickle=False)
        _put(stream, content.getvalue())
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Reads one message; None where the stream ended before it.

    Raises:
        EOFError: the stream ended within it.
        ValueError: what came is no message.
    """
    first = stream.read(_LENGTH.size)
    if not first:
        return None
    header = json.loads(_take(stream, first))
    names = header.pop(_ARRAYS)
    arrays: dict[str, Array] = {}
    for name in names:
        content = io.BytesIO(_take(stream, stream.read(_LENGTH.size)))
        arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
    return header, arrays


def _put(stream: IO[bytes], content: bytes) -> None:
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)


def _take(stream: IO[bytes], length: bytes) -> bytes:
    if len(length) != _LENGTH.size:
        raise EOFError("the stream ended within a message")
    (size,) = _LENGTH.unpack(length)
    if size > _LARGEST:
        msg = f"found a message of {size} bytes, expected at most {_LARGEST}"
        raise ValueError(msg)
    content = stream.read(size)
    if len(content) != size:
        raise EOFError("the stream ended within a message")
    return content
