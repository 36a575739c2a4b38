"""Pad: zeros around images; in front of a convolution or a pool they are its own."""

from __future__ import annotations

import onnx

from qdeploy.quantize.lowerings.registry import Context, lowers


@lowers("Pad")
def pad(context: Context, node: onnx.NodeProto) -> None:
    """The type stays; a zero is its zero point."""
    found = context.type_of(node.input[0])
    pads = [int(number) for number in context.floats.constants[node.input[1]].reshape(-1)]
    rank = len(pads) // 2
    context.integers.node(
        "Pad",
        [node.input[0]],
        [node.output[0]],
        node.name,
        pads=pads[2:rank] + pads[rank + 2 :],
        zero_point=found.zero_point,
    )
    context.integers.types[node.output[0]] = found
