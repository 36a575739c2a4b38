"""Layout operators: data moves, the integer type stays."""

from __future__ import annotations

import onnx

from qdeploy.quantize.float_graph import LAYOUT_OPERATORS
from qdeploy.quantize.lowerings.registry import Context, lowers


@lowers(*LAYOUT_OPERATORS)
def layout(context: Context, node: onnx.NodeProto) -> None:
    """Takes the node over; shapes, axes and indices are integer constants already."""
    for name in node.input[1:]:
        if name in context.floats.constants:
            context.integers.constant(name, context.floats.constants[name], bits=64)
    context.integers.standard(node)
    context.integers.types[node.output[0]] = context.type_of(node.input[0])
