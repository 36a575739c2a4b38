"""Concat: its operands are brought to one type first."""

from __future__ import annotations

import onnx

from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.rescale import rescale
from qdeploy.quantize.tensor_type import with_power_of_two_scale


@lowers("Concat")
def concat(context: Context, node: onnx.NodeProto) -> None:
    """Operands of another scale than the result's pass a Requantize."""
    types = {context.type_of(name) for name in node.input}
    result = types.pop() if len(types) == 1 else context.output_type(node.output[0])
    if context.recipe.multiplier_bits == 1:
        result = with_power_of_two_scale(result, context.type_of(node.input[0]).scale)
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for index, name in enumerate(node.input):
        copy.input[index] = rescale(context, name, result, f"{node.name}.{index}")
    context.integers.standard(copy)
    context.integers.types[node.output[0]] = result
