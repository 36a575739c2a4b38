"""A bundle's network as a compiled C library: what an engine needs to call it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["CLibrary", "header_constants"]

_CONSTANT = re.compile(r"^#define (MODEL_[A-Z0-9_]+) (?:\(?(-?\d+)u?\)?|\"([^\"]*)\")(?: |$)", re.MULTILINE)


@dataclass(frozen=True)
class CLibrary:
    """The bytes of a shared library and the constants of its ``model.h``.

    ``origin`` says in words where the library comes from: which compiler built it, or which file of the bundle it is.
    """

    library: bytes = field(repr=False)
    constants: dict[str, int | str]
    origin: str

    def number(self, name: str) -> int:
        """The integer constant ``MODEL_<name>``.

        Raises:
            InvalidFileError: ``model.h`` has none.
        """
        value = self.constants.get(f"MODEL_{name}")
        if not isinstance(value, int):
            raise InvalidFileError(
                f"model.h defines no number MODEL_{name}; found {', '.join(self.constants) or 'nothing'}"
            )
        return value


def header_constants(header: bytes) -> dict[str, int | str]:
    """What ``model.h`` defines, by name: numbers and texts."""
    text = header.decode("utf-8", errors="replace")
    return {name: int(number) if number else word for name, number, word in _CONSTANT.findall(text)}
