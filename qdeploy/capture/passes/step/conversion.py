"""A loop becomes the layers that its steps are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from ...functions import FLOAT_DOMAIN
from ..access import constant, insert, is_zero, label, replace
from ..directions import turned
from .algebra import Algebra, Polynomial, StepError
from .body import evaluate, through_identity
from .cells import Cell, Step, registered
from .loop import Carried, Loop
from .outside import Axis, Outside, from_rows, to_rows
from .rows import Rows, Value
from .words import described

__all__ = ["convert_loop"]


def convert_loop(loop: Loop) -> None:
    """Replaces ``loop`` by one recurrent operator a layer; what only depends on inputs or new states goes outside.

    Requires: the weights are constants, inside of the body or outside; shapes are known but for the numbers of samples
    and steps. Ensures: the loop's node is gone and its results are written by others.

    Raises:
        UnsupportedModelError: a state that no operator computes, with its normal form and the cells that have one.
    """
    graph = loop.node.graph
    if not isinstance(graph, ir.Graph):
        raise UnsupportedModelError(f"{label(loop.node)}: a loop within a loop; expected one loop over the steps")
    try:
        _Conversion(loop, graph).run()
    except StepError as error:
        raise UnsupportedModelError(
            f"{label(loop.node)}: {error}. A loop is captured where its step is one of these cells, or several of them "
            f"one after the other: {'; '.join(registered())}"
        ) from error


class _Conversion:
    def __init__(self, loop: Loop, graph: ir.Graph) -> None:
        self.loop = loop
        self.graph = graph
        self.node = loop.node
        self.name = loop.node.name or loop.node.op_type.lower()
        self.algebra = Algebra()
        self.outside = Outside(loop.node, graph, self.algebra)
        self.given: dict[ir.Value, Value] = {}
        self.known: list[tuple[Polynomial, Polynomial]] = []
        self.samples = self._samples()
        # Numbers of the sources of the states, and those that never change.
        self.sources: dict[int, int] = {}
        self.following: list[Value | StepError] = []
        self.lasts: dict[int, ir.Value] = {}

    def run(self) -> None:
        self._give_inputs()
        self._give_states()
        while self.sources.keys() - self.lasts.keys():
            self._evaluate()
            self._recognise(self._first_layer())
        self._evaluate()
        for place, state in enumerate(self.loop.states):
            if state.last is not None:
                replace(state.last, self._last(place, state))
        for place, output in enumerate(self.loop.outputs, start=len(self.loop.states)):
            value = self._rows(place, f"scan output {output.value.name}")
            unknown = [
                self.algebra.sources[source].name
                for source in sorted(self.algebra.depends_on(value.value))
                if source not in self.outside.sequences
            ]
            if unknown:
                raise StepError(
                    f"scan output {output.value.name} is {described(self.algebra, value.value)}, which reads "
                    f"{', '.join(unknown)} of every step; expected a function of the new states that layers give"
                )
            axes = _outer(value.axes, output.axis)
            written = self.outside.written(value.value, f"{self.name}.output")
            sequence = from_rows(self.node, self.graph, written, axes, self.name)
            if output.backwards:
                sequence = turned(self.node, self.graph, sequence, output.axis)
            replace(output.sequence, sequence)
        self.graph.remove(self.node, safe=True)

    def _samples(self) -> int | None:
        """The number of samples where the loop's inputs fix it: the size of the first axis of a step."""
        for scanned in self.loop.inputs:
            sizes = _sizes(scanned.value.shape, _without(scanned.sequence.shape, scanned.axis))
            if sizes:
                return sizes[0]
        return None

    def _give_inputs(self) -> None:
        for scanned in self.loop.inputs:
            value, sequence = scanned.value, scanned.sequence
            axes = self._axes(value, _without(sequence.shape, scanned.axis), f"input {value.name}")
            rows = Rows(axes, self.algebra.source(str(value.name), _width(axes), "input"))
            if scanned.backwards:
                sequence = turned(self.node, self.graph, sequence, scanned.axis)
            self.given[value] = rows
            self.outside.sequences[len(self.algebra.sources) - 1] = to_rows(
                self.node, self.graph, sequence, _outer(axes, scanned.axis), self.name
            )

    def _give_states(self) -> None:
        for place, state in enumerate(self.loop.states):
            if through_identity(state.new) is state.old:
                array = constant(state.initial)
                if array is not None:
                    self.given[state.old] = array
                continue
            axes = self._axes(state.old, state.initial.shape, f"state {state.old.name}", state.new.shape)
            self.given[state.old] = Rows(axes, self.algebra.source(str(state.old.name), _width(axes), "state"))
            self.sources[place] = len(self.algebra.sources) - 1
        if not self.sources:
            raise StepError("no state changes from step to step")

    def _axes(self, value: ir.Value, *shapes: object) -> tuple[int | None, ...]:
        """Sizes of the axes of a value of one step, ``None`` for the batch axis."""
        sizes = _sizes(value.shape, *shapes)
        if not sizes or len(sizes) == 1:
            raise StepError(f"{shapes[0]} has rank {len(sizes)}, expected samples and features")
        unknown = [axis for axis, size in enumerate(sizes) if size is None]
        if not unknown:
            unknown = [axis for axis, size in enumerate(sizes) if size == self.samples][:1] or [0]
        batch, *features = unknown
        for axis in features:
            sizes[axis] = _width_from_product(value)
        if any(size is None for axis, size in enumerate(sizes) if axis != batch):
            raise StepError(f"the number of features of {value.name} is not known; export it with its shape")
        return tuple(None if axis == batch else size for axis, size in enumerate(sizes))

    def _evaluate(self) -> None:
        self.following = evaluate(self.algebra, self.loop.body, self.given, self.known, self.samples)
        outputs = self.loop.body.outputs
        wanted = [*(state.new for state in self.loop.states), *(output.value for output in self.loop.outputs)]
        places = {output: place for place, output in enumerate(outputs)}
        self.following = [self.following[places[value]] for value in wanted]

    def _rows(self, place: int, what: str) -> Rows:
        value = self.following[place]
        if isinstance(value, StepError):
            raise StepError(f"{what}: {value}")
        if not isinstance(value, Rows) or value.batch is None:
            raise StepError(f"{what} does not depend on the samples")
        return value

    def _first_layer(self) -> list[int]:
        """The places of the smallest set of states that depend on no other state."""
        owners = {source: place for place, source in self.sources.items()}
        open_states = [place for place in self.sources if place not in self.lasts]
        reads: dict[int, set[int]] = {}
        for place in open_states:
            value = self._rows(place, f"state {self.loop.states[place].old.name}").value
            reads[place] = {owners[source] for source in self.algebra.depends_on(value) if source in owners}
        closures = []
        for place in open_states:
            closure, more = {place}, {place}
            while more:
                more = {one for other in more for one in reads.get(other, ())} - closure
                closure |= more
            closures.append(sorted(closure))
        return min(closures, key=len)

    def _recognise(self, places: list[int]) -> None:
        named = ", ".join(str(self.loop.states[place].old.name) for place in places)
        if any(place in self.lasts for place in places):
            raise StepError(f"state {named}: it reads a layer's state of the step before, which no operator gives")
        rows = [self._rows(place, f"state {named}") for place in places]
        following = tuple(value.value for value in rows)
        for place, value in zip(places, rows, strict=True):
            old = self.given[self.loop.states[place].old]
            if not isinstance(old, Rows) or old.axes != value.axes:
                raise StepError(f"state {named} changes its shape to {list(value.axes)}")
        step = Step(self.algebra, tuple(self.sources[place] for place in places), following)
        cell = next((found for found in (template(step) for template in registered().values()) if found), None)
        if cell is None:
            forms = "; ".join(
                f"{self.loop.states[place].old.name}' = {described(self.algebra, value)}"
                for place, value in zip(places, following, strict=True)
            )
            raise StepError(f"state {named}: the step computes {forms}; no operator does")
        self._write(cell, places, following)

    def _write(self, cell: Cell, places: list[int], following: Sequence[Polynomial]) -> None:
        name = self._layer_name(places)
        values = self.outside.operands(cell, name)
        ordered = [places[index] for index in cell.states]
        initial = [self.loop.states[place].initial for place in ordered]
        has_states = not all(is_zero(value) for value in initial)
        if has_states:
            for place, value in zip(ordered, initial, strict=True):
                values.append(to_rows(self.node, self.graph, value, self._state_axes(place), name))
        layer = insert(
            self.node,
            cell.operator,
            values,
            domain=FLOAT_DOMAIN,
            overload=cell.overload(has_states),
            name=name,
            attributes=cell.attributes,
            outputs=1 + len(ordered),
        )
        self.lasts.update(dict(zip(ordered, layer.outputs[1:], strict=True)))
        shown = cell.states[0]
        state_name = str(self.loop.states[places[shown]].old.name)
        result = self.algebra.source(f"the new {state_name}", following[shown].width, "result")
        self.outside.sequences[len(self.algebra.sources) - 1] = layer.outputs[0]
        self.known.append((following[shown], result))

    def _layer_name(self, places: list[int]) -> str:
        """The module that a state was traced in, or the loop's name and a number where it has several layers."""
        for place in places:
            layer = self.loop.states[place].old.metadata_props.get("layer")
            if layer:
                return str(layer)
        return self.name if len(self.sources) == len(places) else f"{self.name}_l{len(self.known)}"

    def _state_axes(self, place: int) -> list[Axis]:
        rows = self.given[self.loop.states[place].old]
        if not isinstance(rows, Rows):
            raise StepError(f"state {self.loop.states[place].old.name} is constant")
        return ["B" if size is None else size for size in rows.axes]

    def _last(self, place: int, state: Carried) -> ir.Value:
        if place not in self.lasts:
            return state.initial
        return from_rows(self.node, self.graph, self.lasts[place], self._state_axes(place), self.name)


def _without(shape: ir.Shape | None, axis: int) -> list[object] | None:
    if shape is None:
        return None
    sizes: list[object] = list(shape)
    del sizes[axis]
    return sizes


def _outer(axes: Sequence[int | None], axis: int) -> list[Axis]:
    """The axes of a sequence, of which ``axes`` are one step's."""
    outer: list[Axis] = ["B" if size is None else size for size in axes]
    outer.insert(axis if axis >= 0 else len(outer) + 1 + axis, "T")
    return outer


def _sizes(*shapes: object) -> list[int | None]:
    """The sizes that any of the shapes of one value knows."""
    sizes: list[int | None] = []
    for shape in shapes:
        if shape is None:
            continue
        found = [size if isinstance(size, int) else None for size in shape]  # type: ignore[attr-defined]  # a shape or its sizes
        if not sizes:
            sizes = [None] * len(found)
        if len(found) == len(sizes):
            sizes = [known if known is not None else size for known, size in zip(sizes, found, strict=True)]
    return sizes


def _width(axes: Sequence[int | None]) -> int:
    return int(np.prod([size for size in axes if size is not None]))


def _width_from_product(value: ir.Value) -> int | None:
    """The number of features from a product with constants that reads ``value``."""
    for use in value.uses():
        node = use.node
        if node.domain == "" and node.op_type in {"MatMul", "Gemm"} and node.inputs[0] is value:
            matrix = constant(node.inputs[1])
            if matrix is not None and matrix.ndim == 2:  # a matrix
                transposed = node.op_type == "Gemm" and node.attributes.get("transB") is not None
                return int(matrix.shape[1] if transposed and node.attributes["transB"].as_int() else matrix.shape[0])
    return None
