"""Relu and ModRelu that stand alone (a ReLU behind a layer is that layer's lower bound)."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.rescale import rescale
from qdeploy.quantize.tensor_type import TensorType


@lowers("Relu")
def relu(context: Context, node: onnx.NodeProto) -> None:
    """The type stays."""
    found = context.type_of(node.input[0])
    context.integers.node("Relu", [node.input[0]], [node.output[0]], node.name, zero_point=found.zero_point)
    context.integers.types[node.output[0]] = found


@lowers("ModRelu")
def modrelu(context: Context, node: onnx.NodeProto) -> None:
    """The scale stays, the bias is in its steps; an 8-bit operand is widened first, its zero point taken off."""
    found = context.type_of(node.input[0])
    wide = TensorType("int16", found.scale, 0, 16, -(2**15), 2**15 - 1) if found.dtype == "uint8" else found
    operand = rescale(context, node.input[0], wide, node.name)
    bias = np.clip(np.rint(context.floats.constant(node, 1, "bias") / found.scale), -(2**24), 2**24)
    steps = context.integers.constant(f"{node.name}.bias", bias.astype(np.int32), bits=32)
    context.integers.node("ModRelu", [operand, steps], [node.output[0]], node.name)
    # A positive bias lifts magnitudes beyond the operand's.
    top = found.reach + max(0, int(bias.max()))
    context.integers.types[node.output[0]] = TensorType(
        "int16", found.scale, 0, min(16, top.bit_length() + 1), max(-(2**15), -top), min(2**15 - 1, top)
    )
