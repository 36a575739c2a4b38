"""Clip that stands alone (behind a layer it is that layer's bounds)."""

from __future__ import annotations

import onnx

from qdeploy.quantize.lowerings.bounds import BoundedOutput, real_bounds
from qdeploy.quantize.lowerings.registry import Context, lowers


@lowers("Clip")
def clip(context: Context, node: onnx.NodeProto) -> None:
    """The type stays; bounds are rounded to its steps."""
    found = context.type_of(node.input[0])
    low, high = BoundedOutput(node.output[0], found, *real_bounds(context, node)).integers(found)
    context.integers.node("Clip", [node.input[0]], [node.output[0]], node.name, low=low, high=high)
    context.integers.types[node.output[0]] = found
