"""Tables of a flatbuffer from anywhere: every offset is checked against the bytes before it is followed.

The package flatbuffers trusts its bytes; what it raises on others depends on where they are wrong. Here every problem is an
InvalidFileError that names the place. Source: https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["FlatBytes", "Table"]

_FORMATS = {"bool": "<?", "int8": "<b", "uint8": "<B", "int32": "<i", "uint32": "<I", "uint64": "<Q"}


@dataclass
class FlatBytes:
    """The bytes of a flatbuffer, and how much may still be read of them.

    Tables may be shared, so a small file can name one table a million times over: no more is read than twice as many tables
    and numbers as the file has bytes.

    Attributes:
        content: the file.
        where: its name, which begins every message.
    """

    content: bytes
    where: str
    _left: int = field(init=False)

    def __post_init__(self) -> None:
        self._left = 2 * len(self.content)

    def spend(self, items: int, what: str) -> None:
        """Counts tables and numbers. Raises InvalidFileError where the file cannot hold so many."""
        self._left -= items
        if self._left < 0:
            raise self.error(f"{what}: names more than a file of {len(self.content)} bytes can hold")

    def error(self, found: str) -> InvalidFileError:
        """An error about these bytes: what was found, and what to do."""
        return InvalidFileError(f"{self.where}: {found}; the file is incomplete or was altered, export again")

    def number(self, position: int, kind: str, what: str) -> int:
        """A number of a kind of ``_FORMATS`` at a position."""
        form = _FORMATS[kind]
        if not 0 <= position <= len(self.content) - struct.calcsize(form):
            raise self.error(f"{what} lies at byte {position}, expected one of the {len(self.content)} of the file")
        return int(struct.unpack_from(form, self.content, position)[0])

    def two(self, position: int, what: str) -> int:
        """Two bytes without a sign, of which a table's own description is made."""
        if not 0 <= position <= len(self.content) - 2:
            raise self.error(f"{what} lies at byte {position}, expected one of the {len(self.content)} of the file")
        return self.content[position] | self.content[position + 1] << 8

    def root(self) -> Table:
        """The table that the file begins with."""
        return self.table(self.number(0, "uint32", "the root table"), "the root table")

    def table(self, position: int, what: str) -> Table:
        """The table at a position."""
        self.spend(1, what)
        description = position - self.number(position, "int32", what)
        sizes = self.two(description, f"the description of {what}"), self.two(description + 2, f"the size of {what}")
        if sizes[0] < 4 or sizes[0] % 2 or description + sizes[0] > len(self.content):
            raise self.error(f"{what} has a description of {sizes[0]} bytes at byte {description}")
        if sizes[1] < 4 or position + sizes[1] > len(self.content):
            raise self.error(f"{what} has {sizes[1]} bytes at byte {position} of {len(self.content)}")
        return Table(self, position, description, sizes, what)


@dataclass(frozen=True)
class Table:
    """One table; ``what`` says in messages which one it is."""

    source: FlatBytes
    position: int
    description: int
    sizes: tuple[int, int]
    what: str

    def _place(self, slot: int, width: int, name: str) -> int | None:
        """Where a field of so many bytes lies; None where the table has none."""
        entry = 4 + 2 * slot
        if entry + 2 > self.sizes[0]:
            return None
        offset = self.source.two(self.description + entry, f"{name} of {self.what}")
        if offset == 0:
            return None
        if offset < 4 or offset + width > self.sizes[1]:
            raise self.source.error(f"{name} of {self.what} lies at byte {offset} of a table of {self.sizes[1]}")
        return self.position + offset

    def number(self, slot: int, kind: str, name: str) -> int:
        """A number; 0 where the table has none, as in all tables that are read here."""
        place = self._place(slot, struct.calcsize(_FORMATS[kind]), name)
        return 0 if place is None else self.source.number(place, kind, f"{name} of {self.what}")

    def _target(self, slot: int, name: str) -> int | None:
        place = self._place(slot, 4, name)
        if place is None:
            return None
        return place + self.source.number(place, "uint32", f"{name} of {self.what}")

    def table(self, slot: int, name: str) -> Table | None:
        """A table that this one points at."""
        target = self._target(slot, name)
        return None if target is None else self.source.table(target, f"{name} of {self.what}")

    def span(self, slot: int, width: int, name: str) -> tuple[int, int]:
        """A vector of items of so many bytes: where it begins and how many there are; nothing where there is none."""
        target = self._target(slot, name)
        if target is None:
            return 0, 0
        what = f"{name} of {self.what}"
        count = self.source.number(target, "uint32", what)
        if count * width > len(self.source.content) - target - 4:
            raise self.source.error(
                f"{what}: {count} items at byte {target + 4}, beyond the {len(self.source.content)} bytes of the file"
            )
        return target + 4, count

    def numbers(self, slot: int, dtype: Any, name: str) -> NDArray[Any]:
        """A vector of numbers."""
        kind = np.dtype(dtype).newbyteorder("<")
        start, count = self.span(slot, kind.itemsize, name)
        self.source.spend(count, f"{name} of {self.what}")
        return np.frombuffer(self.source.content, kind, count, start)

    def tables(self, slot: int, name: str) -> list[Table]:
        """A vector of tables."""
        start, count = self.span(slot, 4, name)
        self.source.spend(count, f"{name}s of {self.what}")
        places = np.frombuffer(self.source.content, "<u4", count, start).tolist()
        return [
            self.source.table(
                start + 4 * index + place,
                f"{name} {index}" if self.what == "the root table" else f"{name} {index} of {self.what}",
            )
            for index, place in enumerate(places)
        ]

    def text(self, slot: int, name: str) -> str:
        """A text in UTF-8; empty where there is none."""
        start, count = self.span(slot, 1, name)
        self.source.spend(count, f"{name} of {self.what}")
        try:
            return self.source.content[start : start + count].decode()
        except UnicodeDecodeError as error:
            raise self.source.error(f"{name} of {self.what} is no text in UTF-8") from error
