"""From a float model in layer form and its calibration to the integer model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import onnx

from qdeploy.calibration import Calibration
from qdeploy.capture.functions import RECURRENT
from qdeploy.capture.index_inputs import index_counts
from qdeploy.quantize.activation_memory import activation_bytes
from qdeploy.quantize.asked_kernels import check_any
from qdeploy.quantize.batch_norm import place_batch_norm
from qdeploy.quantize.builtin_kernels import normalization
from qdeploy.quantize.builtin_loop import say_which_have_no_kernel
from qdeploy.quantize.float_graph import FLOAT_DOMAIN, FloatGraph
from qdeploy.quantize.given_states import feed_given_states, given_state_type, sources_of_states
from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.lowerings import LOWERINGS, Context
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.sparse_storage import store_sparse
from qdeploy.quantize.tensor_type import grid_type, index_type
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops import DOMAIN, VERSION, WHOLE_SEQUENCE, operator_name


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
    Requires: ``storage`` is ``compact`` (quaternion components, zeros left out where that is smaller) or ``expanded``.
    Ensures: every activation has an integer type, every accumulator is proven to fit int32, weights that lie on a
    quantization grid are unchanged.

    Raises:
        UnsupportedModelError: an operator without lowering, named with what is supported; convolutions of which none can be
            the QLinearConv that the recipe asks for; layers of which none can take the kernels of LiteRT that it asks for.
    """
    model = place_batch_norm(model, recipe.changed(batch_norm=normalization(recipe)))
    floats = FloatGraph(model)
    graph = IntegerGraph(storage=storage)
    context = Context(floats, graph, calibration, recipe, set())
    given_states = sources_of_states(floats)
    index_rows = index_counts(model)
    inputs = []
    for value in floats.inputs:
        if value.name in index_rows:
            graph.types[value.name] = index_type(element_type(value), index_rows[value.name])
            inputs.append(value.name)
            continue
        if given_states.get(value.name):
            continue
        seen = calibration[value.name]
        low, high = seen.bounds(recipe.range, recipe.percentile)
        if value.name in given_states:
            graph.types[value.name] = given_state_type(low, high, recipe.state_bits)
        else:
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
    say_which_have_no_kernel(recipe, graph.layers)
    check_any(recipe, graph.layers)
    if storage == "compact":
        store_sparse(graph)
    _record_ranges(floats, graph, calibration)
    graph.whole_sequences = feed_given_states(context) or reads_backwards(graph)
    _give_last_states_twice(floats, graph)
    state_outputs = {state.output for state in graph.states}
    outputs = tuple(name for name in floats.outputs if name not in state_outputs)
    graph.activation_bytes = activation_bytes(graph, calibration, inputs, outputs)
    return IntegerModel(_assemble(model, graph, inputs, outputs), graph, tuple(inputs), outputs)


def _record_ranges(floats: FloatGraph, graph: IntegerGraph, calibration: Calibration) -> None:
    """Every recurrent layer's record says what calibration saw of its states and sums, over all samples and steps."""
    for node in floats.nodes:
        if node.domain != FLOAT_DOMAIN or node.op_type not in RECURRENT:
            continue
        states = node.output[0] or f"{node.output[1]}/states"
        seen = {"state": calibration[states]}
        seen |= {
            name.removeprefix(f"{states}/"): found
            for name, found in calibration.tensors.items()
            if name.startswith(f"{states}/")
        }
        for layer in graph.layers:
            if layer["name"] == node.name:
                layer |= {"calibrated_samples": calibration.samples, "calibrated_steps": max(1, calibration.steps)}
                layer["calibrated_ranges"] = {name: [found.low, found.high] for name, found in seen.items()}


def _give_last_states_twice(floats: FloatGraph, graph: IntegerGraph) -> None:
    """A last state that the network gives as its result, too, becomes an output beside the state.

    Where the network takes the state as an input, its last state is what the caller feeds back, and no result; unless
    there is no other.
    """
    fed = {value.name for value in floats.inputs}
    states = {state.output for state in graph.states}
    only_states = states.issuperset(floats.outputs)
    for index, state in enumerate(graph.states):
        if state.output not in floats.outputs or (state.input in fed and not only_states):
            continue
        result, kept = state.output, graph.fresh(f"{state.input}_out")
        for node in graph.nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == result:
                        names[place] = kept
        graph.types[kept] = graph.types[result] = state.type
        graph.states[index] = dataclasses.replace(state, output=kept)
        graph.standard(onnx.helper.make_node("Identity", [kept], [result], name=f"{kept}.result"))


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


def of_whole_sequences(model: onnx.ModelProto) -> set[str]:
    """The tensors of an integer model that need all steps of a sequence in one call: means, maxima, what comes of them."""
    whole: set[str] = set()
    for node in model.graph.node:
        own = node.domain == DOMAIN and operator_name(node.op_type) in WHOLE_SEQUENCE
        if own or not whole.isdisjoint(node.input):
            whole.update(node.output)
    return whole


def reads_backwards(graph: IntegerGraph) -> bool:
    """Whether a layer reads a sequence from its end: a Slice of negative steps turns it round."""
    steps = {tensor.name: tensor for tensor in graph.initializers}
    return any(
        node.op_type == "Slice"
        and len(node.input) > 4
        and node.input[4] in steps
        and bool((onnx.numpy_helper.to_array(steps[node.input[4]]) < 0).any())
        for node in graph.nodes
    )


def element_type(value: onnx.ValueInfoProto) -> str:
    """NumPy's name of an input's element type."""
    return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name


def dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    """Fixed dimensions as integers, symbolic ones as names; unknown ones are named by their place."""
    return [
        d.dim_value if d.HasField("dim_value") else d.dim_param or f"{value.name}_{index}"
        for index, d in enumerate(value.type.tensor_type.shape.dim)
    ]
