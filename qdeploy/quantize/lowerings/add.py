"""Add: residual sums."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.tensor_type import with_power_of_two_scale
from qdeploy.runtime.errors import UnsupportedModelError


@lowers("Add")
def add(context: Context, node: onnx.NodeProto) -> None:
    """Both operands' multipliers share one shift; a ReLU or Clip behind it becomes its bounds."""
    a, b = (context.type_of(name) for name in node.input)
    output = bounded_output(context, node.output[0])
    y = output.type
    if context.recipe.multiplier_bits == 1:
        y = with_power_of_two_scale(y, min(a.scale, b.scale))
        multipliers = choose_multiplier(np.array([a.scale, b.scale]) / y.scale, 1, node.name)
        factors, shift = np.broadcast_to(multipliers.values, 2), multipliers.shift
        if factors.max() >= 2**15:
            raise UnsupportedModelError(
                f"node {node.name}: its operands' scales differ by {factors.max() / factors.min():g}, more than powers of two "
                "of 15 bits hold; use multipliers of 15 bits."
            )
    else:
        larger = max(a.scale, b.scale)
        multiplier = choose_multiplier(larger / y.scale, 15, node.name)
        factors = np.array([round(scale * (multiplier.values[0] / larger)) for scale in (a.scale, b.scale)])
        shift = multiplier.shift
    low, high = output.integers(y)
    context.integers.node(
        "Add",
        list(node.input),
        [output.name],
        node.name,
        a_zero_point=a.zero_point,
        b_zero_point=b.zero_point,
        a_multiplier=int(factors[0]),
        b_multiplier=int(factors[1]),
        shift=shift,
        y_zero_point=y.zero_point,
        low=low,
        high=high,
        dtype=y.onnx_type,
    )
    context.integers.types[output.name] = y
    context.integers.layers.append({"name": node.name, "operator": "Add"})
