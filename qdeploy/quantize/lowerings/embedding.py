"""Embedding: the table is quantized, its rows are the activations."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.multiplier import Multiplier, choose_multiplier
from qdeploy.quantize.tensor_type import (
    TensorType,
    activation_type,
    logits_type,
    table_type,
    with_power_of_two_scale,
)
from qdeploy.quantize.weights import QuantizedWeight, quantize_weight


@lowers("Embedding")
def embedding(context: Context, node: onnx.NodeProto) -> None:
    """A table on one scale is taken over as it is, at that scale; one with a scale a row is requantized at load.

    The activations hold no more bits than the recipe's, so that a table on one scale loses nothing against one of more bits; a
    scale for each row pays where the weights have fewer bits than the activations. The whole table makes the range,
    not what calibration saw of it.
    """
    graph, recipe = context.integers, context.recipe
    wide = context.leaves(node.output[0])
    real = context.floats.constant(node, 1, "table")
    room = 16 if wide else recipe.activation_bits
    weight = quantize_weight(
        real,
        recipe.changed(weight_bits=min(recipe.weight_bits, room)),
        node.input[1],
        granularity="per_tensor" if recipe.weight_bits >= room else recipe.weight_granularity,
        power_of_two=recipe.multiplier_bits == 1,
    )
    y, multiplier = _result(context, node, weight, (float(real.min()), float(real.max())), wide=wide)
    name = graph.weight(node.input[1], weight)
    factors = graph.constant(f"{node.name}.multiplier", multiplier.values, bits=32)
    graph.node(
        "Embedding",
        [node.input[0], name, factors],
        [node.output[0]],
        node.name,
        shift=multiplier.shift,
        y_zero_point=y.zero_point,
        low=y.low,
        high=y.high,
        dtype=y.onnx_type,
    )
    graph.types[node.output[0]] = y
    graph.layers.append(
        {
            "name": node.name,
            "operator": "Embedding",
            "weight_bits": weight.bits,
            "exact_grid": weight.exact_grid,
            "weight_error": weight.error,
            "parameters": int(real.size),
            "macs": 0,
            "multiplier_error": multiplier.error,
            "vocabulary_size": int(real.shape[0]),
        }
    )


def _result(
    context: Context, node: onnx.NodeProto, weight: QuantizedWeight, reach: tuple[float, float], *, wide: bool
) -> tuple[TensorType, Multiplier]:
    """The type of the rows as activations, and what brings the table to it."""
    recipe = context.recipe
    if weight.scale.size == 1 and (wide or weight.bits <= recipe.activation_bits):
        y = table_type(float(weight.scale[0]), recipe.activation_bits, wide=wide)
        return y, Multiplier(np.ones(1, np.int32), 0, 0.0)
    y = logits_type(*reach) if wide else activation_type(*reach, recipe.activation_bits)
    if recipe.multiplier_bits == 1:
        y = with_power_of_two_scale(y, float(weight.scale.min()))
    return y, choose_multiplier(weight.scale / y.scale, recipe.multiplier_bits, node.name)
