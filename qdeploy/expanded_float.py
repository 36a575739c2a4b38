"""The float network as it is usually shipped, quaternion matrices in full: what sizes and times are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import numpy_helper

from .capture import FloatSession, expose

__all__ = ["expanded_float"]

_EXPANSION = "HamiltonMatrix"


def expanded_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace each quaternion matrix of a captured model by a stored one, and leave out what it was made of."""
    nodes = [node for node in model.graph.node if node.op_type == _EXPANSION]
    expanded = onnx.ModelProto()
    expanded.CopyFrom(model)
    if not nodes:
        return expanded
    names = [node.output[0] for node in nodes]
    matrices = FloatSession(_only(expose(model, names), names)).run({})
    kept = [node for node in expanded.graph.node if node.op_type != _EXPANSION]
    used = {name for node in kept for name in node.input}
    constants = [tensor for tensor in expanded.graph.initializer if tensor.name in used]
    constants += [numpy_helper.from_array(matrices[name], name) for name in names]
    functions = [function for function in expanded.functions if function.name != _EXPANSION]
    _replace(expanded.graph, "node", kept)
    _replace(expanded.graph, "initializer", constants)
    _replace(expanded, "functions", functions)
    return expanded


def _only(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The part of the graph that makes these tensors of constants; the rest, inputs included, goes."""
    nodes = [node for node in model.graph.node if set(node.output) & set(names)]
    outputs = [value for value in model.graph.output if value.name in names]
    _replace(model.graph, "node", nodes)
    _replace(model.graph, "output", outputs)
    _replace(model.graph, "input", [])
    return model


def _replace(message: Any, field: str, values: Sequence[Any]) -> None:
    """Set a repeated field; the values are copied first, as clearing the field may take them along."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    message.ClearField(field)
    getattr(message, field).extend(copies)
