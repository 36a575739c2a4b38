"""Linear: fully connected layers, real ones and those whose matrix is a quaternion's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.grid import recognise_grid
from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.tensor_type import TensorType, with_power_of_two_scale
from qdeploy.quantize.weights import (
    QuantizedWeight,
    check_finite,
    on_scale,
    powers_of_two,
    quantize_weight,
    room_for_bias,
    symmetric_scale,
)
from qdeploy.runtime.errors import AccumulatorOverflowError
from qdeploy.runtime.ops import OPERATORS, Node


@lowers("HamiltonMatrix")
def hamilton_matrix(context: Context, node: onnx.NodeProto) -> None:
    """Nothing by itself: the layer that reads the matrix quantizes its components."""
    del context, node


@lowers("Linear")
def linear(context: Context, node: onnx.NodeProto) -> None:
    """One scale per output (per output quaternion); a ReLU behind it becomes the lower bound."""
    graph, recipe = context.integers, context.recipe
    x = context.type_of(node.input[0])
    reader = context.floats.only_reader(node.output[0], "Relu")
    output = reader.output[0] if reader is not None else node.output[0]
    if reader is not None:
        context.done.add(output)
    y = context.output_type(output)

    producer = context.floats.producers.get(node.input[1])
    float_bias = context.floats.constant(node, 2, "bias") if len(node.input) > 2 and node.input[2] else None
    if float_bias is not None:
        check_finite(float_bias, node.input[2])
    if producer is not None and producer.op_type == "HamiltonMatrix":
        weight, name, matrix, layer = _quaternion_weight(context, producer, float_bias, x, y)
    else:
        real = context.floats.constant(node, 1, "weight")
        weight = quantize_weight(
            real, recipe, node.input[1], granularity=recipe.weight_granularity, power_of_two=recipe.multiplier_bits == 1
        )
        if float_bias is not None:
            weight = room_for_bias(weight, real, float_bias, x, y, recipe.multiplier_bits)
        name, matrix = graph.weight(node.input[1], weight), weight.integers
        layer = {"parameters": real.size}

    if recipe.multiplier_bits == 1:
        # A power-of-two ratio needs an output scale that is one times the accumulator's.
        y = with_power_of_two_scale(y, x.scale * float(weight.scale.min()))
    scale = x.scale * np.broadcast_to(weight.scale, matrix.shape[:1])
    bias = np.zeros(matrix.shape[0]) if float_bias is None else float_bias.astype(np.float64)
    integer_bias = np.rint(bias / scale)
    reach = np.abs(matrix.astype(np.int64)).sum(axis=1) * x.reach + np.abs(integer_bias)
    if reach.max() >= 2**31:
        raise AccumulatorOverflowError(
            f"node {node.name}: the accumulator of output {int(reach.argmax())} could reach {reach.max():.3g}, more than int32 "
            "holds; use fewer weight or activation bits, or split the layer."
        )
    multiplier = choose_multiplier(scale / y.scale, recipe.multiplier_bits, node.name)
    graph.node(
        "Linear",
        [
            node.input[0],
            name,
            graph.constant(f"{node.name}.bias", integer_bias.astype(np.int32), bits=32, scale=scale),
            _multiplier(context, node.name, multiplier.values, layer),
        ],
        [output],
        node.name,
        x_zero_point=x.zero_point,
        shift=multiplier.shift,
        y_zero_point=y.zero_point,
        low=y.zero_point if reader is not None else y.low,
        high=y.high,
        dtype=y.onnx_type,
    )
    graph.types[output] = y
    graph.layers.append(
        {
            "name": node.name,
            "operator": "Linear",
            "weight_bits": weight.bits,
            "exact_grid": weight.exact_grid,
            "weight_error": weight.error,
            "activation_bits": x.bits,
            "macs": int(matrix.size),
            "accumulator_bits": accumulator_bits(int(reach.max())),
            "multiplier_error": multiplier.error,
            **layer,
        }
    )


def _quaternion_weight(
    context: Context, producer: onnx.NodeProto, float_bias: NDArray[np.float32] | None, x: TensorType, y: TensorType
) -> tuple[QuantizedWeight, str, NDArray[np.int8], dict[str, object]]:
    """Components with one scale per output quaternion, and the matrix that they make."""
    graph, recipe = context.integers, context.recipe
    components = [context.floats.constant(producer, index, "component") for index in range(4)]
    for name, component in zip(producer.input, components, strict=True):
        check_finite(component, name)
    stacked = np.concatenate(components)
    grid = recognise_grid(stacked) if recipe.recognise_grid else None
    rows = components[0].shape[0]
    if grid is not None and grid.integers.min() > -128:
        quantized = QuantizedWeight(grid.integers, np.array([grid.step]), grid.bits, True, 0.0)
        scale = quantized.scale
    else:
        largest = np.abs(np.stack(components)).max(axis=(0, 2)).astype(np.float64)
        if recipe.weight_granularity == "per_tensor":
            largest = largest.max(keepdims=True).repeat(rows)
        row_scale = symmetric_scale(largest, recipe.weight_bits)
        if recipe.multiplier_bits == 1:
            row_scale = powers_of_two(row_scale)
        quantized = on_scale(stacked, np.tile(row_scale, 4), recipe.weight_bits)
        scale = quantized.scale
    if float_bias is not None:
        side_by_side = dataclasses.replace(quantized, integers=_beside(quantized.integers), scale=scale[:rows])
        biases = np.abs(float_bias.reshape(4, rows)).max(axis=0)
        roomy = room_for_bias(side_by_side, _beside(stacked), biases, x, y, recipe.multiplier_bits)
        if roomy is not side_by_side:
            quantized = dataclasses.replace(roomy, integers=np.concatenate(np.split(roomy.integers, 4, axis=1)))
            scale = roomy.scale if roomy.scale.size == 1 else np.tile(roomy.scale, 4)
    parts = np.split(quantized.integers, 4)
    grouping = str(attribute(producer, "grouping", "blocked"))
    (matrix,) = OPERATORS["HamiltonMatrix"].meaning(Node(producer.name), *parts, grouping=grouping)
    whole = QuantizedWeight(matrix, scale, quantized.bits, quantized.exact_grid, quantized.error)
    layer = {"parameters": stacked.size, "quaternion": True, "grouping": grouping}
    if graph.storage == "expanded":
        return whole, graph.weight(producer.output[0], whole), matrix, layer
    names = []
    for name, part in zip(producer.input, parts, strict=True):
        row_scales = scale if scale.size == 1 else scale[:rows]
        names.append(graph.weight(name, QuantizedWeight(part, row_scales, quantized.bits, quantized.exact_grid, 0.0)))
    if not any(made.output[0] == producer.output[0] for made in graph.nodes):
        graph.node("HamiltonMatrix", names, [producer.output[0]], producer.name, grouping=grouping)
    return whole, producer.output[0], matrix, layer


def _beside(stacked: NDArray[Any]) -> NDArray[Any]:
    """Components ``[4 * rows, K]`` as ``[rows, 4 * K]``: a row for each quaternion."""
    return np.concatenate(np.split(stacked, 4), axis=1)


def _multiplier(context: Context, name: str, values: NDArray[np.int32], layer: dict[str, object]) -> str:
    """The multiplier's tensor. A quaternion layer's repeat four times: compact storage keeps them once."""
    graph = context.integers
    if graph.storage != "compact" or not layer.get("quaternion") or values.size == 1:
        return graph.constant(f"{name}.multiplier", values, bits=32)
    once = graph.constant(f"{name}.multiplier.once", values[: values.size // 4], bits=32)
    repeated = f"{name}.multiplier"
    graph.nodes.append(onnx.helper.make_node("Concat", [once] * 4, [repeated], name=repeated, axis=0))
    return repeated
