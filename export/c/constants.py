"""Arrays of constants as C text, each once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qdeploy.export.c.memory import c_type
from qdeploy.export.c.names import Names
from qdeploy.runtime.numeric import IntArray

__all__ = ["ConstantArray", "Constants", "array_values"]

_LINE = 116
_LOWEST = {"int32": (-(2**31), "(-2147483647 - 1)"), "int64": (-(2**63), "(-9223372036854775807 - 1)")}


@dataclass(frozen=True)
class ConstantArray:
    """A ``static const`` array.

    Attributes:
        name: its identifier.
        node: the first node that uses it.
        bytes: what it takes in flash.
        text: its definition.
    """

    name: str
    node: str
    bytes: int
    text: str


@dataclass
class Constants:
    """The arrays of one file, in the order in which they were asked for."""

    arrays: list[ConstantArray] = field(default_factory=list)
    _names: Names = field(default_factory=Names)
    _known: dict[tuple[str, bytes, bool], str] = field(default_factory=dict)

    def array(self, hint: str, values: IntArray, node: str, *, note: str = "", aligned: bool = False) -> str:
        """The name of an array with these values, of their type.

        Args:
            hint: what it should be called.
            values: integers; an array is flat in C.
            node: who asks.
            note: comment before it.
            aligned: to 64 bytes, which the kernels' loads like.
        """
        flat = np.ascontiguousarray(values).reshape(-1)
        key = (flat.dtype.name, flat.tobytes(), aligned)
        if key not in self._known:
            name = self._names.new(hint)
            self._known[key] = name
            self.arrays.append(ConstantArray(name, node, flat.nbytes, _definition(name, flat, note, aligned=aligned)))
        return self._known[key]


def _definition(name: str, flat: IntArray, note: str, *, aligned: bool) -> str:
    head = f"static const {c_type(flat.dtype)} {name}[{flat.size}]{' MODEL_ALIGNED' if aligned else ''} = {{"
    lines = [f"/* {note} */"] if note else []
    return "\n".join([*lines, head, *array_values(flat), "};"]) + "\n"


def array_values(flat: IntArray) -> list[str]:
    """The lines between the braces of an array's definition."""
    low, text = _LOWEST.get(flat.dtype.name, (None, ""))
    words = [text if value == low else str(value) for value in flat.tolist()]
    lines: list[str] = []
    line = "   "
    for word in words:
        if len(line) + len(word) + 2 > _LINE:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return [*lines, line]
