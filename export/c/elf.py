"""Object files as far as memory goes: sections, and the stack that each function and what it calls takes.

Source: the ELF format (System V ABI, chapters 4 and 5), and LLVM's ``.stack_sizes`` (option ``-fstack-size-section``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["ObjectFile", "Section", "read_object"]

_ALLOC, _WRITE, _CODE = 0x2, 0x1, 0x4
_SYMBOLS, _RELA, _NOBITS, _REL = 2, 4, 8, 9
_FUNCTION, _SECTION = 2, 3


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
        name: ``.text.model_step``, ``.rodata.recurrent_weight``.
        size: in memory, in bytes.
        loaded, writable, code: whether it has a place in memory, in RAM, and is executed.
        content: its bytes, empty for those that are zero.
    """

    name: str
    size: int
    loaded: bool
    writable: bool
    code: bool
    content: bytes


@dataclass(frozen=True)
class ObjectFile:
    """A relocatable file.

    Attributes:
        sections: all of them.
        frames: by function, the bytes of stack that it takes itself; empty where the compiler did not say.
        calls: by function, the names that it calls or takes the address of.
    """

    sections: tuple[Section, ...]
    frames: Mapping[str, int]
    calls: Mapping[str, frozenset[str]]

    @property
    def code(self) -> int:
        """Bytes of instructions."""
        return sum(section.size for section in self.sections if section.loaded and section.code)

    @property
    def read_only(self) -> int:
        """Bytes of constants, and of what unwinding reads."""
        return sum(s.size for s in self.sections if s.loaded and not s.code and not s.writable)

    @property
    def writable(self) -> int:
        """Bytes of variables."""
        return sum(section.size for section in self.sections if section.loaded and section.writable)

    def stack(self, function: str) -> int | None:
        """The deepest stack of a call of ``function`` within this file, None where the compiler did not say.

        What it calls of other files (``memcpy``, the compiler's own functions) comes on top.
        """
        return self._deepest(function, ()) if function in self.frames else None

    def _deepest(self, function: str, above: tuple[str, ...]) -> int:
        if function in above:
            raise InvalidFileError(f"{function} calls itself: {' → '.join([*above, function])}; expected no recursion")
        inner = [
            self._deepest(name, (*above, function)) for name in self.calls.get(function, ()) if name in self.frames
        ]
        return self.frames[function] + max(inner, default=0)


def read_object(data: bytes) -> ObjectFile:
    """Reads a little-endian relocatable ELF file whose functions have sections of their own.

    Raises:
        InvalidFileError: it is none.
    """
    try:
        return _Reader(data).read()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise InvalidFileError(f"the object file is damaged ({error}); expected ELF from the C compiler") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF" or data[5:6] != b"\x01" or data[16:18] != b"\x01\x00":
            raise InvalidFileError(f"found a file that begins with {data[:4]!r}, expected a little-endian ELF object")
        self._data = data
        self._wide = data[4] == 2
        head = struct.unpack_from("<QI6H", data, 40) if self._wide else struct.unpack_from("<II6H", data, 32)
        self._offset, _, _, _, _, entry, count, names = head
        self._headers = [self._header(self._offset + entry * number) for number in range(count)]
        self._names = self._headers[names][4]

    def _header(self, place: int) -> tuple[int, ...]:
        """name, type, flags, address, offset, size, link, info, alignment, entry size."""
        return struct.unpack_from("<IIQQQQIIQQ" if self._wide else "<10I", self._data, place)

    def _text(self, table: int, place: int) -> str:
        end = self._data.index(b"\0", table + place)
        return self._data[table + place : end].decode()

    def _content(self, number: int) -> bytes:
        _, kind, _, _, offset, size, *_ = self._headers[number]
        return b"" if kind == _NOBITS else self._data[offset : offset + size]

    def read(self) -> ObjectFile:
        sections = tuple(
            Section(
                self._text(self._names, name),
                size,
                loaded=bool(flags & _ALLOC),
                writable=bool(flags & _WRITE),
                code=bool(flags & _CODE),
                content=self._content(number),
            )
            for number, (name, _, flags, _, _, size, *_) in enumerate(self._headers)
        )
        symbols = list(self._symbols())
        # Of every section with code, its function: each has a section of its own.
        functions = {place: name for name, kind, place in symbols if kind == _FUNCTION}
        frames: dict[str, int] = {}
        calls: dict[str, set[str]] = {name: set() for name in functions.values()}
        for header in self._headers:
            if header[1] not in (_REL, _RELA):
                continue
            target, goals = header[7], [symbols[index] for index in self._relocated(header)]
            names = [functions.get(place, name) if kind == _SECTION else name for name, kind, place in goals]
            if target in functions:
                calls[functions[target]].update(names)
            elif sections[target].name.startswith(".stack_sizes"):
                frames.update(zip(names, self._stack_sizes(sections[target].content), strict=True))
        return ObjectFile(sections, frames, {name: frozenset(found) for name, found in calls.items()})

    def _symbols(self) -> Iterator[tuple[str, int, int]]:
        """Name, kind and section of every symbol."""
        for _, kind, _, _, offset, size, link, _, _, entry in self._headers:
            if kind != _SYMBOLS:
                continue
            for place in range(offset, offset + size, entry):
                if self._wide:
                    name, info, _, section, _, _ = struct.unpack_from("<IBBHQQ", self._data, place)
                else:
                    name, _, _, info, _, section = struct.unpack_from("<IIIBBH", self._data, place)
                yield self._text(self._headers[link][4], name), info & 15, section

    def _relocated(self, header: tuple[int, ...]) -> Iterator[int]:
        """The symbols that a section's relocations name."""
        _, _, _, _, offset, size, _, _, _, entry = header
        for place in range(offset, offset + size, entry):
            if self._wide:
                yield struct.unpack_from("<QQ", self._data, place)[1] >> 32
            else:
                yield struct.unpack_from("<II", self._data, place)[1] >> 8

    def _stack_sizes(self, content: bytes) -> list[int]:
        """Addresses, which relocations fill, each with a size in LEB128."""
        width = 8 if self._wide else 4
        found: list[int] = []
        place = 0
        while place < len(content):
            place += width
            value = shift = 0
            while True:
                byte = content[place]
                place += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            found.append(value)
        return found
