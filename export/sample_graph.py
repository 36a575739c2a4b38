"""The integer graph as C and LiteRT see it: one sample, one time step, all that is constant known by value.

Shapes come from two runs of the reference with sequences of different length: what differs is the time axis. So nothing
about shapes is derived twice, and a graph whose sizes hang on its length in another way is noticed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.manifest import InputSpec, Manifest, StateSpec
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops import DOMAIN, OPERATORS, RECURRENT, WEIGHT_OPERATORS, WHOLE_SEQUENCE, operator_name
from qdeploy.runtime.reference import STANDARD, ReferenceModel, plain_value

__all__ = ["Graph", "Layer", "Source", "Tensor", "initial_states", "read_graph"]

_LENGTHS = (5, 7)
"""Steps of the two runs; lengths that no other dimension multiplies by chance in both."""

ALIASES = ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
"""Standard operators that move nothing in memory."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph, of one sample.

    Attributes:
        name: its name in the graph.
        dtype: its integer type.
        shape: with a batch of 1 and, where there is a time axis, one step.
        time_axis: the axis that counts the steps, or None.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    time_axis: int | None = None

    @property
    def entries(self) -> int:
        """Of one step."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Of one step."""
        return self.entries * self.dtype.itemsize


@dataclass(frozen=True)
class Source:
    """How the file holds a constant that an operator makes of others: four components, packed bytes, gaps of zeros."""

    operator: str
    inputs: Mapping[str, IntArray]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """A node that computes something: its operator, and tensors by the parameters' names of the operator.

    Inputs of standard operators are named ``x0``, ``x1`` and so on, their outputs ``y0``, ``y1``.
    """

    name: str
    operator: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    attributes: Mapping[str, Any]

    @property
    def layer_operator(self) -> bool:
        """Whether it is one of the domain qdeploy, not a standard one that moves data."""
        return self.operator in OPERATORS


@dataclass(frozen=True)
class Graph:
    """A model, read.

    Attributes:
        layers: what is computed, in order; operators on constants and aliases are gone.
        tensors: every tensor that has a place in memory, aliases too.
        constants: tensors whose values are known, by name.
        sources: of those, the ones that an operator makes, and of what.
        aliases: tensors that are another one under another name, by name.
        inputs, outputs: names of graph inputs and outputs in the manifest's order, states excluded.
        states: recurrent states in the manifest's order.
        whole_sequences: whether a call takes a whole sequence, and layers run one after the other over all steps.
        timed: whether there is a time axis at all.
    """

    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]
    constants: Mapping[str, IntArray]
    sources: Mapping[str, Source]
    aliases: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[StateSpec, ...]
    whole_sequences: bool
    timed: bool
    manifest: Manifest = field(repr=False)

    def root(self, name: str) -> str:
        """The tensor that holds the memory of ``name``."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def constant(self, layer: Layer, argument: str, form: str, option: str) -> IntArray:
        """The value of a layer's input that is known.

        Args:
            layer: of this graph.
            argument: the input's parameter.
            form: what needs it, for the error: ``C``.
            option: the format's name: ``c``.

        Raises:
            UnsupportedModelError: it is computed at run time.
        """
        name = layer.inputs[argument]
        if name not in self.constants:
            raise UnsupportedModelError(
                f"node {layer.name} ({layer.operator}): its {argument} is computed at run time; {form} needs it as a constant. "
                f"Export without the format {option}."
            )
        return self.constants[name]


def read_graph(model: onnx.ModelProto, manifest: Manifest, *, at_once: bool = False) -> Graph:
    """Reads an integer model.

    Args:
        model: integer-only, not inlined.
        manifest: the bundle's.
        at_once: whether layers run over all steps one after the other even where a sequence may be cut.

    Raises:
        UnsupportedModelError: where floats stand at the borders, or sizes depend on the number of steps in an unusual way.
    """
    borders = [(spec.name, spec.dtype) for spec in manifest.inputs]
    borders += [(output.name, output.dtype) for output in manifest.outputs]
    borders += [(state.input, state.dtype) for state in manifest.states]
    for name, dtype in borders:
        if dtype == "float32":
            raise UnsupportedModelError(
                f"{name} is a float tensor; C and LiteRT have integers at their borders. Export without --float-io."
            )
    for node in model.graph.node:
        if node.domain != DOMAIN and node.op_type not in STANDARD:
            raise UnsupportedModelError(
                f"node {node.name} ({node.op_type}): the file is flat, its operators are gone; other formats are made of the "
                "operators. Export without --inline."
            )
    reference = ReferenceModel(model)
    short, long = (_run(reference, manifest, steps) for steps in _LENGTHS)
    timed = any(spec.time_axis is not None for spec in manifest.inputs)
    tensors = {name: _tensor(name, short[name], long[name], timed=timed) for name in short}
    constants: dict[str, IntArray] = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    sources: dict[str, Source] = {}
    # Tensors of sizes, which stand in no memory: Reshape and its like read them here, not at run time.
    sizes: set[str] = set()
    nodes: list[Layer] = []
    for index, proto in enumerate(model.graph.node):
        layer = _layer(index, proto)
        names = [name for name in layer.inputs.values() if name]
        if layer.operator == "Shape" or all(name in constants or name in sizes for name in names):
            for name in filter(None, layer.outputs.values()):
                if short[name].shape == long[name].shape and (short[name] == long[name]).all():
                    constants[name] = short[name]
                else:
                    sizes.add(name)
            if layer.operator in WEIGHT_OPERATORS:
                held = {key: constants[name] for key, name in layer.inputs.items() if name}
                sources[next(iter(layer.outputs.values()))] = Source(layer.operator, held, layer.attributes)
            continue
        nodes.append(layer)
    whole = (
        at_once
        or manifest.whole_sequences
        or any(layer.operator in WHOLE_SEQUENCE for layer in nodes)
        or any(not _may_be_cut(layer, tensors, constants) for layer in nodes)
    )
    aliases = {
        next(iter(layer.outputs.values())): layer.inputs["x0"]
        for layer in nodes
        if _is_alias(layer, tensors, constants, whole=whole)
    }
    nodes = [_with_states(layer, tensors) for layer in nodes]
    if not whole:
        # Of one step, all states are the last one.
        recurrent = [layer for layer in nodes if layer.operator in RECURRENT and layer.outputs.get("y")]
        aliases |= {layer.outputs["y"]: layer.outputs["y_h"] for layer in recurrent}
    state_names = {spec.input for spec in manifest.states} | {spec.output for spec in manifest.states}
    return Graph(
        layers=tuple(layer for layer in nodes if layer.layer_operator or layer.outputs["y0"] not in aliases),
        tensors={name: tensor for name, tensor in tensors.items() if tensor is not None},
        constants=constants,
        sources=sources,
        aliases=aliases,
        inputs=tuple(spec.name for spec in manifest.inputs),
        outputs=tuple(spec.name for spec in manifest.outputs if spec.name not in state_names),
        states=manifest.states,
        whole_sequences=whole and timed,
        timed=timed,
        manifest=manifest,
    )


def _run(reference: ReferenceModel, manifest: Manifest, steps: int) -> dict[str, IntArray]:
    feeds: dict[str, NDArray[Any]] = {}
    for spec in manifest.inputs:
        feeds[spec.name] = np.full(_sizes(spec, steps), 0 if spec.scale is None else spec.zero_point, spec.dtype)
    for state in manifest.states:
        feeds[state.input] = np.full(
            [1 if isinstance(d, str) else d for d in state.shape], state.zero_point, state.dtype
        )
    return reference.run(feeds, keep=True).tensors


def _sizes(spec: InputSpec, steps: int) -> list[int]:
    return [
        steps if axis == spec.time_axis else 1 if isinstance(size, str) else size
        for axis, size in enumerate(spec.shape)
    ]


def _tensor(name: str, short: IntArray, long: IntArray, *, timed: bool) -> Tensor | None:
    """None for what has no plain place in memory: sizes that grow in another way than by one entry a step."""
    moving = [axis for axis, (a, b) in enumerate(zip(short.shape, long.shape, strict=True)) if a != b]
    if not moving:
        return Tensor(name, short.dtype, short.shape)
    axis = moving[0]
    if not timed or len(moving) > 1 or (short.shape[axis], long.shape[axis]) != _LENGTHS:
        return None
    return Tensor(name, short.dtype, (*short.shape[:axis], 1, *short.shape[axis + 1 :]), axis)


def _layer(index: int, proto: onnx.NodeProto) -> Layer:
    attributes = {a.name: plain_value(onnx.helper.get_attribute_value(a)) for a in proto.attribute}
    name = proto.name or f"{proto.op_type}_{index}"
    if proto.domain == DOMAIN:
        operator = OPERATORS[operator_name(proto.op_type)]
        inputs, outputs = (
            dict(zip(operator.inputs, proto.input, strict=False)),
            dict(zip(operator.outputs, proto.output, strict=False)),
        )
        return Layer(name, operator.name, inputs, outputs, attributes)
    return Layer(
        name,
        proto.op_type,
        {f"x{place}": name for place, name in enumerate(proto.input)},
        {f"y{place}": name for place, name in enumerate(proto.output)},
        attributes,
    )


def _with_states(layer: Layer, tensors: dict[str, Tensor | None]) -> Layer:
    """A recurrent layer with all of its last states, those that nobody reads too: its state lives in one of them."""
    if layer.operator not in RECURRENT:
        return layer
    outputs = dict(layer.outputs)
    for state in initial_states(layer):
        result = f"y_{state.removesuffix('0')}"
        if not outputs.get(result):
            outputs[result] = f"{layer.name}.{result}"
            y = tensors.get(layer.inputs[state])
            tensors[outputs[result]] = None if y is None else replace(y, name=outputs[result])
    return replace(layer, outputs=outputs)


def initial_states(layer: Layer) -> list[str]:
    """The parameters that take a recurrent layer's states before the first step: h0, and c0 of an LSTM."""
    return [name for name in ("h0", "c0") if name in layer.inputs]


def _may_be_cut(layer: Layer, tensors: Mapping[str, Tensor | None], constants: Mapping[str, IntArray]) -> bool:
    """Whether a layer gives the same when a sequence is taken step by step.

    Operators of recurrent layers do; a standard operator does where it keeps the time axis, or takes the last step.
    """
    if layer.layer_operator:
        return True
    timed = [t for t in map(tensors.get, layer.inputs.values()) if t is not None and t.time_axis is not None]
    if not timed:
        return True
    outputs = [tensors.get(name) for name in layer.outputs.values()]
    if all(t is not None and t.time_axis is not None for t in outputs):
        return True
    return _takes_last_step(layer, timed[0], constants)


def _takes_last_step(layer: Layer, x: Tensor, constants: Mapping[str, IntArray]) -> bool:
    if layer.operator == "Gather" and layer.inputs["x1"] in constants:
        indices = constants[layer.inputs["x1"]]
        return bool(layer.attributes.get("axis", 0) == x.time_axis and indices.size == 1 and int(indices.flat[0]) == -1)
    if layer.operator == "Slice":
        start, _, axes = (constants.get(layer.inputs.get(key, "")) for key in ("x1", "x2", "x3"))
        return start is not None and axes is not None and start.tolist() == [-1] and axes.tolist() == [x.time_axis]
    return False


def _is_alias(
    layer: Layer, tensors: Mapping[str, Tensor | None], constants: Mapping[str, IntArray], *, whole: bool
) -> bool:
    """Whether its output is its first input in memory, at one sample and, unless ``whole``, one step."""
    x = tensors.get(layer.inputs.get("x0", ""))
    if layer.layer_operator or x is None:
        return False
    if layer.operator in ALIASES:
        return True
    if layer.operator == "Transpose":
        order = layer.attributes["perm"]
        moved = [axis for axis in order if x.shape[axis] > 1 or (whole and axis == x.time_axis)]
        return moved == sorted(moved)
    return not whole and x.time_axis is not None and _takes_last_step(layer, x, constants)
