"""What an operator of the domain ``qdeploy`` is: a name, its typed signature, and its meaning on NumPy arrays.

An operator's module holds its contract in the docstring of one function, marked with :func:`operator`. The other
rooms (ONNX bodies, C, LiteRT) implement that contract under the same file name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import ContractError

DOMAIN = "qdeploy"
VERSION = 1

IntArray = NDArray[Any]


@dataclass
class Node:
    """The place where an operator runs: its name for errors, and counters that the run fills.

    Attributes:
        name: the node's name in the graph.
        saturated: how many outputs were clipped at a bound that the float model does not have.
        cache: what an operator derives once from its constants (weights in a BLAS type, bounds).
    """

    name: str
    saturated: int = 0
    cache: dict[str, Any] = field(default_factory=dict)

    def require(self, condition: bool, message: str) -> None:
        """Raises a ContractError with the node's name unless ``condition`` holds."""
        if not condition:
            raise ContractError(f"node {self.name}: {message}")

    def require_dtype(self, argument: str, value: IntArray, *allowed: type[np.integer[Any]]) -> None:
        """Refuses an array of another integer type than the contract's."""
        if value.dtype not in [np.dtype(kind) for kind in allowed]:
            names = " or ".join(np.dtype(kind).name for kind in allowed)
            raise ContractError(f"node {self.name}: {argument} is {value.dtype}{list(value.shape)}; expected {names}.")

    def require_shape(self, argument: str, value: IntArray, *expected: int | None) -> None:
        """Refuses an array of another shape; None stands for any length, but not for 0."""
        fits = len(expected) == value.ndim and all(
            length > 0 if wanted is None else length == wanted
            for length, wanted in zip(value.shape, expected, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if length is None else str(length) for length in expected)
            raise ContractError(f"node {self.name}: {argument} has shape {list(value.shape)}; expected [{wanted}].")


Meaning = Callable[..., tuple[IntArray, ...]]


@dataclass(frozen=True)
class Operator:
    """A registered operator: ``inputs`` and ``attributes`` in the order of its ONNX function.

    ``optional`` are inputs that a node may lack, ``defaulted`` attributes that it may lack, which then have the default of the
    meaning's parameter.
    """

    name: str
    meaning: Meaning
    inputs: tuple[str, ...]
    optional: frozenset[str]
    attributes: tuple[str, ...]
    outputs: tuple[str, ...]
    defaulted: frozenset[str] = frozenset()

    def takes(self, attributes: Iterable[str]) -> bool:
        """Whether a node may have these attributes and no others."""
        found = set(attributes)
        return found <= set(self.attributes) and set(self.attributes) - found <= self.defaulted

    @property
    def summary(self) -> str:
        """The first line of the contract."""
        return (inspect.getdoc(self.meaning) or "").partition("\n")[0]


OPERATORS: dict[str, Operator] = {}


def operator_name(op_type: str) -> str:
    """The operator of a node in a file: what stands before the underscore.

    Behind it stands which of the operator's bodies the node takes, such as ``Linear_u8_s8``. IR 10 has overloads for
    this, but onnxruntime up to 1.26 ignores them and runs one body for all, without a word.
    """
    return op_type.partition("_")[0]


def operator(name: str, *, outputs: tuple[str, ...]) -> Callable[[Meaning], Meaning]:
    """Registers a function ``(node, *inputs, **attributes) -> outputs`` as the meaning of operator ``name``."""

    def register(meaning: Meaning) -> Meaning:
        parameters = list(inspect.signature(meaning).parameters.values())[1:]
        inputs = tuple(p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY)
        optional = frozenset(p.name for p in parameters if p.default is None)
        keywords = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        attributes = tuple(p.name for p in keywords)
        defaulted = frozenset(p.name for p in keywords if p.default is not inspect.Parameter.empty)
        OPERATORS[name] = Operator(name, meaning, inputs, optional, attributes, outputs, defaulted)
        return meaning

    return register
