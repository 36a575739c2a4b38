"""The float network as it is usually shipped, quaternion matrices in full: what sizes and times are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import numpy_helper

from .capture.computed_weights import computed_weights, weight_nodes

__all__ = ["expanded_float"]


def expanded_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace each matrix that a captured model computes of constants by a stored one, and leave out what it was made of."""
    computing = {name for node in weight_nodes(model) for name in node.output}
    expanded = onnx.ModelProto()
    expanded.CopyFrom(model)
    if not computing:
        return expanded
    kept = [node for node in expanded.graph.node if node.output[0] not in computing]
    used = {name for node in kept for name in node.input}
    constants = [tensor for tensor in expanded.graph.initializer if tensor.name in used]
    constants += [
        numpy_helper.from_array(array, name) for name, array in computed_weights(model).items() if name in used
    ]
    called = {node.op_type for node in kept}
    functions = [function for function in expanded.functions if function.name in called]
    _replace(expanded.graph, "node", kept)
    _replace(expanded.graph, "initializer", constants)
    _replace(expanded, "functions", functions)
    return expanded


def _replace(message: Any, field: str, values: Sequence[Any]) -> None:
    """Set a repeated field; the values are copied first, as clearing the field may take them along."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    message.ClearField(field)
    getattr(message, field).extend(copies)
