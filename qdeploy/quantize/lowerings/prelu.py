"""LeakyRelu and PRelu with a multiplier for each sign, where a table does not serve."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.tensor_type import TensorType, state_type, with_power_of_two_scale

MULTIPLIER_BITS = 15
"""Of the larger multiplier; both share a shift, and powers of two serve no slope."""


def rectify(context: Context, node: onnx.NodeProto, found: TensorType) -> bool:
    """Lowers ``node`` as the operator PRelu where its operand is wide or it has several slopes; whether it did."""
    if node.op_type == "LeakyRelu":
        slopes = np.array([attribute(node, "alpha", 0.01)], np.float64)
    else:
        slopes = context.floats.constant(node, 1, "slope").astype(np.float64).reshape(-1)
    if found.dtype == "uint8" and slopes.size == 1:
        return False
    graph, output = context.integers, bounded_output(context, node.output[0])
    y = output.type
    if found.dtype == "int16":
        seen = context.calibration[output.name]
        y = state_type(max(-seen.low, seen.high) or 1.0, found.bits, signed=seen.low < 0)
    if context.recipe.multiplier_bits == 1:
        y = with_power_of_two_scale(y, found.scale)
    # The factor of positive values and the largest slope are held by 15 bits.
    largest = max(1.0, float(np.abs(slopes).max()))
    chosen = choose_multiplier(largest * found.scale / y.scale, MULTIPLIER_BITS, node.name)
    unit = found.scale / y.scale * 2.0**chosen.shift
    name = graph.constant(f"{node.name}.slopes", np.rint(slopes * unit).astype(np.int32), bits=32)
    low, high = output.integers(y)
    graph.node(
        "PRelu",
        [node.input[0], name],
        [output.name],
        node.name,
        x_zero_point=found.zero_point,
        multiplier=round(unit),
        shift=chosen.shift,
        y_zero_point=y.zero_point,
        low=low,
        high=high,
        dtype=y.onnx_type,
    )
    graph.types[output.name] = y
    graph.layers.append({"name": node.name, "operator": "PRelu", "activation_bits": found.bits})
    return True
