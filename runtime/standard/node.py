"""What a kernel builder is told about its node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Build", "Kernel", "Node", "Tracer", "require_kind", "same_type"]

Array: TypeAlias = npt.NDArray[Any]
#: Computes a node: arrays (None for an absent optional input) to one array, or a tuple for several outputs.
Kernel: TypeAlias = Callable[..., Any]


@dataclass
class Tracer:
    """Holds the callback of a traced run; ``None`` while nobody listens."""

    callback: Callable[[str, Array], None] | None = None


@dataclass(frozen=True)
class Node:
    """One node at the time its kernel is built.

    ``constants`` has one entry per input: the array when it is known at load, else None. A kernel may specialise on
    it but is still
    called with every input.
    """

    operator: str
    label: str
    opset: int
    attributes: Mapping[str, Any]
    constants: tuple[Array | None, ...]
    present: tuple[bool, ...]
    outputs: int
    tracer: Tracer = field(default_factory=Tracer)

    def constant(self, index: int) -> Array | None:
        """The value of input ``index`` when it is known at load."""
        return self.constants[index] if index < len(self.constants) else None

    def has(self, index: int) -> bool:
        """Whether input ``index`` is given."""
        return index < len(self.present) and self.present[index]


Build: TypeAlias = Callable[[Node], Kernel]


def same_type(a: Array, b: Array) -> None:
    """Both operands of an operator have one element type, as ONNX demands."""
    if a.dtype != b.dtype:
        msg = f"found operands of type {a.dtype} and {b.dtype}, expected one type; add a Cast"
        raise TypeError(msg)


def require_kind(a: Array, kinds: str) -> None:
    """``kinds``: the NumPy kinds an operator takes ("i" signed, "u" unsigned, "b" bool, "f" float)."""
    if a.dtype.kind not in kinds:
        names = {"i": "signed integers", "u": "unsigned integers", "b": "bool", "f": "float"}
        msg = f"found an operand of type {a.dtype}, expected {' or '.join(names[k] for k in kinds)}"
        raise TypeError(msg)


def as_integers(a: Array) -> tuple[int, ...]:
    """A shape, axes or index input as Python integers."""
    require_kind(a, "i")
    return tuple(int(v) for v in np.atleast_1d(a))
