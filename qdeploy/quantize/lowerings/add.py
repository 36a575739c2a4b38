"""Add: residual sums."""

from __future__ import annotations

import onnx

from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.multiplier import choose_multiplier


@lowers("Add")
def add(context: Context, node: onnx.NodeProto) -> None:
    """Both operands' multipliers share one shift; a ReLU behind it becomes the lower bound."""
    a, b = (context.type_of(name) for name in node.input)
    reader = context.floats.only_reader(node.output[0], "Relu")
    output = reader.output[0] if reader is not None else node.output[0]
    if reader is not None:
        context.done.add(output)
    y = context.output_type(output)
    larger = max(a.scale, b.scale)
    multiplier = choose_multiplier(larger / y.scale, 15, node.name)
    unit = multiplier.values[0] / larger
    context.integers.node(
        "Add",
        list(node.input),
        [output],
        node.name,
        a_zero_point=a.zero_point,
        b_zero_point=b.zero_point,
        a_multiplier=round(a.scale * unit),
        b_multiplier=round(b.scale * unit),
        shift=multiplier.shift,
        y_zero_point=y.zero_point,
        low=y.zero_point if reader is not None else y.low,
        high=y.high,
        dtype=y.onnx_type,
    )
    context.integers.types[output] = y
    context.integers.layers.append({"name": node.name, "operator": "Add"})
