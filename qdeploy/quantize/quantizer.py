"""From a float model in layer form and its calibration to the integer model."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from qdeploy.calibration import Calibration
from qdeploy.quantize.float_graph import FloatGraph
from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.lowerings import LOWERINGS, Context
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.tensor_type import grid_type
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops import DOMAIN, VERSION


@dataclass(frozen=True)
class IntegerModel:
    """The integer model without bodies, and what is known of it.

    Attributes:
        model: nodes of the domain ``qdeploy`` and layout operators; ``qdeploy.export.onnx.attach_bodies`` adds bodies.
        graph: types, states, layers and constants.
        inputs: names of the inputs that the user feeds, in the float model's order, states left out.
        outputs: names of the outputs that the user reads, states left out.
    """

    model: onnx.ModelProto
    graph: IntegerGraph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def quantize(
    model: onnx.ModelProto, calibration: Calibration, recipe: Recipe, *, storage: str = "compact"
) -> IntegerModel:
    """Lowers every layer of ``model``.

    Requires: ``model`` in layer form (``qdeploy.capture``), statistics of all its tensors.
    Ensures: every activation has an integer type, every accumulator is proven to fit int32, weights that lie on a
    quantization grid are unchanged.

    Raises:
        UnsupportedModelError: an operator without lowering, named with what is supported.
    """
    floats = FloatGraph(model)
    graph = IntegerGraph(storage=storage)
    context = Context(floats, graph, calibration, recipe, set())
    recurrent_states = _state_inputs(floats)
    inputs = []
    for value in floats.inputs:
        if value.name in recurrent_states:
            continue
        seen = calibration[value.name]
        low, high = seen.bounds(recipe.range, recipe.percentile)
        graph.types[value.name] = grid_type(low, high, seen.grid_bits, recipe.activation_bits)
        inputs.append(value.name)
    for node in floats.nodes:
        if node.output[0] and node.output[0] in context.done:
            continue
        lowering = LOWERINGS.get(node.op_type)
        if lowering is None:
            raise UnsupportedModelError(
                f"node {node.name}: {node.op_type} has no integer form; supported are {', '.join(sorted(LOWERINGS))}."
            )
        lowering(context, node)
    state_outputs = {state.output for state in graph.states}
    outputs = tuple(name for name in floats.outputs if name not in state_outputs)
    return IntegerModel(_assemble(model, graph, inputs, outputs), graph, tuple(inputs), outputs)


def _state_inputs(floats: FloatGraph) -> set[str]:
    """Graph inputs that serve as initial states."""
    names: set[str] = set()
    for node in floats.nodes:
        first = {"RNN": 4, "GRU": 5, "LSTM": 4, "LiGRU": 4}.get(node.op_type)
        if first is not None:
            names.update(name for name in node.input[first:] if name in {value.name for value in floats.inputs})
    return names


def _assemble(
    model: onnx.ModelProto, graph: IntegerGraph, inputs: list[str], outputs: tuple[str, ...]
) -> onnx.ModelProto:
    def value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, graph.types[name].onnx_type, shape)

    shapes = {v.name: dimensions(v) for v in [*model.graph.input, *model.graph.output]}
    graph_inputs = [value(name, shapes[name]) for name in inputs]
    graph_outputs = [value(name, shapes[name]) for name in outputs]
    for state in graph.states:
        graph_inputs.append(
            onnx.helper.make_tensor_value_info(state.input, state.type.onnx_type, ["batch", state.size])
        )
        graph_outputs.append(
            onnx.helper.make_tensor_value_info(state.output, state.type.onnx_type, ["batch", state.size])
        )
    _name_nodes(graph)
    assembled = onnx.helper.make_graph(
        graph.nodes, model.graph.name or "qdeploy", graph_inputs, graph_outputs, graph.initializers
    )
    return onnx.helper.make_model(
        assembled,
        opset_imports=[onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAIN, VERSION)],
        producer_name="qdeploy",
    )


def _name_nodes(graph: IntegerGraph) -> None:
    """Every node has a name that errors can use."""
    for index, node in enumerate(graph.nodes):
        if not node.name:
            node.name = f"{node.op_type}_{index}"


def dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    """Fixed dimensions as integers, symbolic ones as names; unknown ones are named by their place."""
    return [
        d.dim_value if d.HasField("dim_value") else d.dim_param or f"{value.name}_{index}"
        for index, d in enumerate(value.type.tensor_type.shape.dim)
    ]
