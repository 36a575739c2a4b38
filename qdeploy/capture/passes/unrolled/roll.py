"""Rolls values of all steps up into the body of one loop."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..access import constant, label, new_initializer
from .slices import Group, Slice

__all__ = ["RollError", "Roller", "State", "local_key"]

# A step is a few dozen operators deep; a deeper one is refused before Python's own limit.
_DEEPEST = 250

# One value of every step, in the order of the steps.
Steps = tuple[ir.Value, ...]


class RollError(Exception):
    """The steps do not do the same; the message says which, and why."""


@dataclass
class State:
    """A value that the next step reads: ``new`` of every step, ``initial`` before the first; ``old`` is the body's input."""

    new: Steps
    initial: ir.Value
    old: ir.Value


def local_key(node: ir.Node) -> tuple[object, ...]:
    """What nodes of different steps that do the same have in common: operator, attributes and constants."""
    attributes = tuple(sorted((name, str(attribute)) for name, attribute in node.attributes.items()))
    constants = []
    for place, value in enumerate(node.inputs):
        array = constant(value)
        if array is not None:
            constants.append(
                (place, value) if array.size > 1 else (place, array.dtype.str, float(array.reshape(-1)[0]))
            )
    return node.domain, node.op_type, node.overload, attributes, tuple(constants), len(node.outputs)


class Roller:
    """The body of one loop, as far as it has been read off the steps.

    Attributes:
        values: the body's value of what every step computes.
        inputs: the body's name of one step of a sequence.
        states: in the order in which they were found.
        backwards: whether a step reads the one after it; ``None`` while no state is known.
    """

    def __init__(self, graph: ir.Graph, slices: Mapping[ir.Value, Slice], steps: int) -> None:
        self._graph = graph
        self._slices = slices
        self._steps = steps
        self.values: dict[Steps, ir.Value] = {}
        self.nodes: list[ir.Node] = []
        self.inputs: dict[Group, ir.Value] = {}
        self.states: list[State] = []
        self.backwards: bool | None = None
        # Values of all steps whose nodes are read already, by all but the last, and by all but the first.
        self._before: dict[Steps, Steps] = {}
        self._after: dict[Steps, Steps] = {}
        self._rolled: dict[tuple[ir.Node, ...], ir.Node] = {}

    def roll(self, steps: Steps, depth: int = 0) -> ir.Value:
        """The body's value that is ``steps[t]`` in step ``t``.

        Raises:
            RollError: the steps do not do the same, or depend on their number.
        """
        if depth > _DEEPEST:
            raise RollError(f"a step is more than {_DEEPEST} operators deep")
        known = self.values.get(steps)
        if known is None:
            known = self._base(steps) or self._delayed(steps) or self._node(steps, depth)
            self.values[steps] = known
        return known

    def _base(self, steps: Steps) -> ir.Value | None:
        """A step of a sequence, or what all steps read."""
        first = steps[0]
        parts = [self._slices.get(value) for value in steps]
        found = parts[0]
        if found is not None and all(part is not None and part.group == found.group for part in parts):
            indices = [part.index for part in parts if part is not None]
            if indices == list(range(self._steps)):
                return self._input(found, first)
            if indices != indices[:1] * self._steps:
                place = next((at for at, index in enumerate(indices) if index != at), 0)
                raise RollError(f"step {place} reads step {indices[place]} of {found.group.sequence.name}")
        if all(value is first for value in steps):
            return first
        arrays = [constant(value) for value in steps]
        if arrays[0] is None and all(array is None for array in arrays):
            return None
        for place, array in enumerate(arrays):
            if array is None or arrays[0] is None or not np.array_equal(array, arrays[0]):
                shown = "" if array is None or array.size > 1 else f" ({array.reshape(-1)[0]})"
                raise RollError(
                    f"step {place} reads another constant{shown} than step 0: the step depends on its number"
                )
        return first

    def _input(self, found: Slice, value: ir.Value) -> ir.Value:
        group = found.group
        if group not in self.inputs:
            shape = None if group.sequence.shape is None else list(group.sequence.shape)
            if shape is not None:
                del shape[group.axis]
            self.inputs[group] = ir.Value(
                name=f"{group.sequence.name}_t",
                type=group.sequence.type,
                shape=None if shape is None else ir.Shape(shape),
            )
        one = self.inputs[group]
        if not found.keeps_axis:
            return one
        axes = new_initializer(self._graph, "step.axes", np.array([group.axis], np.int64))
        node = ir.Node("", "Unsqueeze", [one, axes])
        node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
        self.nodes.append(node)
        return node.outputs[0]

    def _delayed(self, steps: Steps) -> ir.Value | None:
        """The old state where ``steps`` are what an earlier or, backwards, a later step computed."""
        backwards = False
        new = self._before.get(steps[1:])
        if new is None:
            backwards, new = True, self._after.get(steps[:-1])
        if new is None:
            return None
        if self.backwards is not None and self.backwards is not backwards:
            raise RollError("a step reads the one before it and the one after it")
        self.backwards = backwards
        initial = steps[-1] if backwards else steps[0]
        old = ir.Value(
            name="h" if not self.states else f"h{len(self.states) + 1}", type=new[0].type, shape=new[0].shape
        )
        layer = _module_of(new[1].producer())
        if layer:
            old.metadata_props["layer"] = layer
        self.states.append(State(new, initial, old))
        return old

    def _node(self, steps: Steps, depth: int) -> ir.Value:
        """The body's node that does what one node of every step does."""
        producers = []
        for place, value in enumerate(steps):
            producer = value.producer()
            if producer is None:
                raise RollError(f"step {place} reads {value.name}, an input of the model, where others compute a value")
            producers.append(producer)
        nodes = tuple(producers)
        if nodes not in self._rolled:
            self._started(nodes)
            operands: list[ir.Value | None] = []
            for place, operand in enumerate(nodes[0].inputs):
                values = [node.inputs[place] for node in nodes]
                present = tuple(value for value in values if value is not None)
                if operand is None or len(present) != len(values):
                    operands.append(None)
                else:
                    operands.append(self.roll(present, depth + 1))
            copied = ir.Node(
                nodes[0].domain,
                nodes[0].op_type,
                operands,
                list(nodes[0].attributes.values()),
                overload=nodes[0].overload,
                num_outputs=len(nodes[0].outputs),
                name=nodes[0].name,
            )
            for output, traced in zip(copied.outputs, nodes[1].outputs, strict=True):
                output.name, output.shape, output.type = f"{traced.name}_step", traced.shape, traced.type
            self.nodes.append(copied)
            self._rolled[nodes] = copied
        return self._rolled[nodes].outputs[steps[0].producer().outputs.index(steps[0])]  # type: ignore[union-attr]  # all have producers

    def _started(self, nodes: Sequence[ir.Node]) -> None:
        """Checks that the nodes do the same, and remembers their results, which the next step may read."""
        first = nodes[1]
        for place, node in enumerate(nodes):
            same = (node.domain, node.op_type, len(node.inputs), len(node.outputs))
            if same != (first.domain, first.op_type, len(first.inputs), len(first.outputs)):
                raise RollError(f"step {place} computes {label(node)} where step 1 computes {label(first)}")
            if any(str(node.attributes.get(name)) != str(first.attributes.get(name)) for name in first.attributes):
                raise RollError(f"step {place} computes {label(node)} with other attributes than step 1")
        for output in range(len(first.outputs)):
            results = tuple(node.outputs[output] for node in nodes)
            self._before[results[:-1]] = results
            self._after[results[1:]] = results


def _module_of(node: ir.Node | None) -> str:
    """The path of the torch module that a node was traced in."""
    scopes = "" if node is None else node.metadata_props.get("pkg.torch.onnx.name_scopes", "")
    try:
        path = ast.literal_eval(scopes)
    except (ValueError, SyntaxError):
        return ""
    return str(path[-2]) if isinstance(path, list) and len(path) > 1 else ""
