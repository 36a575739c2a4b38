"""Tables, vectors and texts of a flatbuffers file, each written once: what is alike is one place that all refer to.

A file may do so because it is read only: two tensors of one type and shape are one table, two operators without options of
their own share them. More than half of a small network's ``.tflite`` file would be such repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

__all__ = ["CompactBuilder"]

_PREPEND = {
    "offset": "PrependUOffsetTRelativeSlot",
    "int32": "PrependInt32Slot",
    "uint32": "PrependUint32Slot",
    "bool": "PrependBoolSlot",
    "int8": "PrependInt8Slot",
    "uint8": "PrependUint8Slot",
}
"""How a field is written, by its type; in the order in which they are written: the widest first leaves the fewest gaps."""

_WIDEST_FIRST = list(_PREPEND)
_ALIGNMENT = 16
"""Of a buffer's bytes, by the schema."""


class CompactBuilder:
    """Writes parts of a file, from its end to its beginning, and gives the place of each."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1 << 16)
        self._places: dict[Any, int] = {}

    @property
    def size(self) -> int:
        """Bytes so far."""
        return int(self._builder.Offset())

    def table(self, fields: Sequence[tuple[int, str, int]], *, slots: int) -> int:
        """A table with these slots: slot, type, value; values of 0 are the schema's defaults and are not written."""
        written = sorted((field for field in fields if field[2]), key=lambda field: _WIDEST_FIRST.index(field[1]))

        def write() -> int:
            self._builder.StartObject(slots)
            for slot, kind, value in written:
                getattr(self._builder, _PREPEND[kind])(slot, value, 0)
            return int(self._builder.EndObject())

        return self._once(("table", slots, *written), write)

    def offsets(self, places: Sequence[int]) -> int:
        """A vector of tables or texts."""

        def write() -> int:
            self._builder.StartVector(4, len(places), 4)
            for place in reversed(places):
                self._builder.PrependUOffsetTRelative(place)
            return int(self._builder.EndVector())

        return self._once(("offsets", *places), write)

    def numbers(self, values: Sequence[Any] | NDArray[Any], dtype: Any = np.int32) -> int:
        """A vector of numbers."""
        array = np.asarray(values, dtype)
        key = ("numbers", array.dtype.name, array.tobytes())
        return self._once(key, lambda: int(self._builder.CreateNumpyVector(array)))

    def text(self, text: str) -> int:
        """A text."""
        return self._once(("text", text), lambda: int(self._builder.CreateString(text)))

    def content(self, data: bytes) -> int:
        """A vector of bytes, aligned as a tensor's values are."""

        def write() -> int:
            self._builder.StartVector(1, len(data), _ALIGNMENT)
            self._builder.head = self._builder.Head() - len(data)
            self._builder.Bytes[self._builder.Head() : self._builder.Head() + len(data)] = data
            return int(self._builder.EndVector())

        return self._once(("content", data), write)

    def finish(self, root: int, identifier: bytes) -> bytes:
        """The file."""
        self._builder.Finish(root, file_identifier=identifier)
        return bytes(self._builder.Output())

    def _once(self, key: Any, write: Callable[[], int]) -> int:
        if key not in self._places:
            self._places[key] = write()
        return self._places[key]
