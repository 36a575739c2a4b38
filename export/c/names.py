"""Names of nodes and tensors as identifiers of C."""

from __future__ import annotations

import re

from qdeploy.export.c.kernels import identifiers

__all__ = ["Names", "identifier"]

# Keywords of C99 and C11 that a node may be called, and names of the headers that generated files include.
# fmt: off
_RESERVED = frozenset({
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "main",
    "memcpy", "memset", "size_t", "state", "steps", "states", "NULL", "advance", "finish", "model_state",
    "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t",
})
# fmt: on


def identifier(text: str) -> str:
    """``text`` with all that C does not allow in a name replaced by underscores."""
    plain = re.sub(r"[^0-9A-Za-z_]+", "_", text).strip("_") or "x"
    return f"n{plain}" if plain[0].isdigit() else f"{plain}_" if plain in _RESERVED | identifiers() else plain


class Names:
    """Gives every thing of one kind a name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, text: str) -> str:
        """An identifier like ``text`` that was not given before."""
        stem = name = identifier(text)
        number = 2
        while name in self._taken:
            name = f"{stem}_{number}"
            number += 1
        self._taken.add(name)
        return name
