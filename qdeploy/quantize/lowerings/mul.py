"""Mul: products of two activations."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.tensor_type import with_power_of_two_scale


@lowers("Mul")
def mul(context: Context, node: onnx.NodeProto) -> None:
    """The product's step is the product of both operands' steps; one multiplier brings it to the result's."""
    a, b = (context.type_of(name) for name in node.input)
    output = bounded_output(context, node.output[0])
    y = output.type
    unit = a.scale * b.scale
    if context.recipe.multiplier_bits == 1:
        y = with_power_of_two_scale(y, unit)
    multiplier = choose_multiplier(np.array([unit / y.scale]), context.recipe.multiplier_bits, node.name)
    low, high = output.integers(y)
    context.integers.node(
        "Mul",
        list(node.input),
        [output.name],
        node.name,
        a_zero_point=a.zero_point,
        b_zero_point=b.zero_point,
        multiplier=int(multiplier.values[0]),
        shift=multiplier.shift,
        y_zero_point=y.zero_point,
        low=low,
        high=high,
        dtype=y.onnx_type,
    )
    context.integers.types[output.name] = y
    context.integers.layers.append({"name": node.name, "operator": "Mul"})
