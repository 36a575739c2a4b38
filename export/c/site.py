"""What an emitter gets: one layer of the graph, and the means to write its function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.export.c.memory import c_type
from qdeploy.export.c.names import identifier
from qdeploy.export.sample_graph import Graph, Layer, Source, Tensor
from qdeploy.runtime.errors import UnsupportedModelError

if TYPE_CHECKING:
    from qdeploy.export.c.constants import Constants
    from qdeploy.export.c.targets import Target
    from qdeploy.runtime.numeric import IntArray

__all__ = ["Operand", "Parameter", "Scratch", "Site"]

_INDENT = "    "


@dataclass(frozen=True)
class Operand:
    """A tensor as the layer's function sees it.

    Attributes:
        name: of the function's parameter, or of a constant array.
        tensor: type and shape, of one sample and one step.
        slack: whether kernels may read a block of columns beyond its end.
    """

    name: str
    tensor: Tensor
    slack: bool

    @property
    def type(self) -> str:
        """``uint8_t`` and so on."""
        return c_type(self.tensor.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample and one step."""
        return self.tensor.shape

    @property
    def entries(self) -> int:
        """Of one sample and one step."""
        return self.tensor.entries


@dataclass(frozen=True)
class Scratch:
    """Memory of the arena that a layer needs while it runs."""

    name: str
    dtype: np.dtype[Any]
    entries: int


@dataclass(frozen=True)
class Parameter:
    """One parameter of a layer's function: its declaration, and the tensor or scratch that the caller passes."""

    declaration: str
    tensor: str = ""
    scratch: Scratch | None = None


@dataclass
class Site:
    """One layer of the graph.

    An emitter asks for operands, constants, kernels and scratch memory, each by the parameter's name of the operator's
    contract, and writes statements. What it asked for becomes the function's parameters.
    """

    layer: Layer
    graph: Graph
    target: Target
    constants: Constants
    slack: Mapping[str, bool]
    kernels: set[str]
    lines: list[str] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    comment: str = ""
    _depth: int = 1

    @property
    def name(self) -> str:
        """The node's name as an identifier; constants are called after it."""
        return identifier(self.layer.name)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The node's attributes by name."""
        return self.layer.attributes

    @property
    def whole(self) -> bool:
        """Whether the function runs over all steps of a sequence; it then has a parameter ``steps``."""
        return self.graph.whole_sequences

    def has(self, argument: str) -> bool:
        """Whether an optional input is given, or an output is read by anyone."""
        return bool(self.layer.inputs.get(argument) or self.layer.outputs.get(argument))

    def input(self, argument: str, name: str | None = None) -> Operand:
        """An input that the graph computes, or a constant in its place; becomes the parameter ``name``."""
        tensor_name = self.layer.inputs[argument]
        if tensor_name in self.graph.constants:
            values = self.graph.constants[tensor_name]
            return Operand(self.array(argument, values), Tensor(tensor_name, values.dtype, values.shape), slack=False)
        tensor = self._tensor(tensor_name)
        shown = name or identifier(argument)
        self._parameter(Parameter(f"const {c_type(tensor.dtype)} *{shown}", tensor_name))
        return Operand(shown, tensor, self.slack.get(self.graph.root(tensor_name), False))

    def output(self, result: str, name: str | None = None) -> Operand:
        """An output; becomes the parameter ``name``."""
        tensor = self._tensor(self.layer.outputs[result])
        shown = name or identifier(result)
        self._parameter(Parameter(f"{c_type(tensor.dtype)} *{shown}", tensor.name))
        return Operand(shown, tensor, self.slack.get(self.graph.root(tensor.name), False))

    def state(self, name: str) -> Operand:
        """A state ``h`` (or ``c``), which holds the one before and shall hold the one after; becomes the parameter ``name``."""
        return self.output(f"y_{name}", name)

    def constant(self, argument: str) -> IntArray:
        """The value of an input that is known.

        Raises:
            UnsupportedModelError: it is computed at run time.
        """
        return self.graph.constant(self.layer, argument, "C", "c")

    def source(self, argument: str) -> Source | None:
        """How the file holds this constant, None where it stands there in full."""
        return self.graph.sources.get(self.layer.inputs[argument])

    def array(self, hint: str, values: IntArray, *, note: str = "", aligned: bool = False) -> str:
        """The name of a ``static const`` array with these values; the same values are one array."""
        return self.constants.array(f"{self.name}_{hint}", values, self.layer.name, note=note, aligned=aligned)

    def kernel(self, name: str) -> str:
        """A kernel's name; its text comes into the file."""
        self.kernels.add(name)
        return name

    def scratch(self, name: str, dtype: Any, entries: int) -> str:
        """Memory while the layer runs; becomes the parameter ``name``. Its content is left over from other layers."""
        wanted = Scratch(name, np.dtype(dtype), entries)
        self._parameter(Parameter(f"{c_type(wanted.dtype)} *{name}", scratch=wanted))
        return name

    def line(self, text: str) -> None:
        """One or more lines of C, at the present depth."""
        for one in text.split("\n"):
            self.lines.append(_INDENT * self._depth + one if one else "")

    def remark(self, text: str) -> None:
        """A comment line."""
        self.line(f"/* {text} */")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines between braces behind ``head``."""
        self.line(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    @contextmanager
    def loop(self, variable: str, count: int | str) -> Iterator[str]:
        """A loop from 0 over ``count``; of a count of 1 nothing but the value 0 is left.

        Yields the variable, or ``0``.
        """
        if count == 1:
            yield "0"
            return
        with self.block(f"for (size_t {variable} = 0; {variable} < {count}; {variable}++)"):
            yield variable

    @contextmanager
    def steps_loop(self) -> Iterator[str]:
        """A loop over the steps of a whole sequence; at one step at a time nothing but the value 0 is left."""
        with self.loop("t", "steps" if self.whole else 1) as variable:
            yield variable

    def rows(self, operand: Operand) -> int | str:
        """How many vectors of the last axis an operand holds: a number, or an expression with ``steps``.

        Raises:
            UnsupportedModelError: the last axis counts the steps.
        """
        tensor = operand.tensor
        count = tensor.entries // tensor.shape[-1] if tensor.shape else 1
        if not self.whole or tensor.time_axis is None:
            return count
        if tensor.time_axis == len(tensor.shape) - 1:
            raise UnsupportedModelError(
                f"node {self.layer.name} ({self.layer.operator}): the last axis of {tensor.name} counts the steps; C needs them "
                "on an earlier axis."
            )
        return "steps" if count == 1 else f"{count} * steps"

    def count(self, operand: Operand) -> int | str:
        """How many entries an operand has: a number, or an expression with ``steps``."""
        tensor = operand.tensor
        if not self.whole or tensor.time_axis is None:
            return tensor.entries
        return "steps" if tensor.entries == 1 else f"{tensor.entries} * steps"

    @staticmethod
    def at(name: str, index: str, size: int | str) -> str:
        """The expression of entry number ``index`` of an array of pieces of ``size`` entries."""
        if index == "0":
            return name
        return f"{name} + {index}" if size == 1 else f"{name} + {index} * {size}"

    def _tensor(self, name: str) -> Tensor:
        found = self.graph.tensors.get(name)
        if found is None:
            raise UnsupportedModelError(
                f"node {self.layer.name} ({self.layer.operator}): the size of {name} depends on the number of steps in a way "
                "that C has no form for; expected an axis of one entry a step."
            )
        return found

    def _parameter(self, parameter: Parameter) -> None:
        if parameter not in self.parameters:
            self.parameters.append(parameter)
