"""Relu and ModRelu that stand alone (a ReLU behind a layer is that layer's lower bound)."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.runtime.errors import UnsupportedModelError


@lowers("Relu")
def relu(context: Context, node: onnx.NodeProto) -> None:
    """The type stays."""
    found = context.type_of(node.input[0])
    context.integers.node("Relu", [node.input[0]], [node.output[0]], node.name, zero_point=found.zero_point)
    context.integers.types[node.output[0]] = found


@lowers("ModRelu")
def modrelu(context: Context, node: onnx.NodeProto) -> None:
    """The type stays; the bias is in its steps."""
    found = context.type_of(node.input[0])
    if found.dtype != "int16":
        raise UnsupportedModelError(
            f"node {node.name}: modReLU behind an 8-bit tensor is not supported; use states of 9 to 16 bits."
        )
    bias = np.rint(context.floats.constant(node, 1, "bias") / found.scale)
    steps = context.integers.constant(f"{node.name}.bias", np.clip(bias, -(2**24), 2**24).astype(np.int32), bits=32)
    context.integers.node("ModRelu", [node.input[0], steps], [node.output[0]], node.name)
    context.integers.types[node.output[0]] = found
