"""Weights that a captured model makes of its constants: quaternion matrices, rows of gates in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .functions import FLOAT_DOMAIN
from .session import FloatSession

__all__ = ["computed_weights", "weight_nodes"]


def weight_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of the float domain that depend on constants alone, in the graph's order."""
    known = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.domain == FLOAT_DOMAIN and node.input and set(node.input) <= known:
            known.update(node.output)
            found.append(node)
    return found


def computed_weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """What those nodes give, by tensor name."""
    nodes = weight_nodes(model)
    if not nodes:
        return {}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    for name in ("node", "input", "output", "initializer"):
        part.graph.ClearField(name)
    part.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    written = [name for node in nodes for name in node.output]
    part.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in written)
    arrays: dict[str, NDArray[Any]] = FloatSession(part).run({})
    return arrays
