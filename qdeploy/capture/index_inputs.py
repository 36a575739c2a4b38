"""Inputs that are indices: which tensors they make, and how many rows the tables have that they go into."""

from __future__ import annotations

import onnx

from .functions import FLOAT_DOMAIN

__all__ = ["EMBEDDING", "index_counts", "index_tensors"]

EMBEDDING = "Embedding"
_INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


def index_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """The tensors of a model in layer form that hold indices, each with the input that it comes from.

    Requires: indices pass layout operators only before an ``Embedding`` reads them (``make_embedding`` checks it).
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    found = {
        value.name: value.name
        for value in model.graph.input
        if value.type.tensor_type.elem_type in _INTEGERS and value.name not in constants
    }
    for node in model.graph.node:
        if node.domain == "" and node.input and node.input[0] in found:
            found.update(dict.fromkeys(node.output, found[node.input[0]]))
    return found


def index_counts(model: onnx.ModelProto) -> dict[str, int]:
    """The inputs that embeddings read, and the rows of the smallest table that each goes into."""
    sources = index_tensors(model)
    rows = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    counts: dict[str, int] = {}
    for node in model.graph.node:
        if node.domain == FLOAT_DOMAIN and node.op_type == EMBEDDING and node.input[0] in sources:
            source = sources[node.input[0]]
            counts[source] = min(counts.get(source, rows[node.input[1]]), rows[node.input[1]])
    return counts
