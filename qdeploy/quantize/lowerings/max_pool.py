"""MaxPool and GlobalMaxPool: the type stays."""

from __future__ import annotations

import onnx

from qdeploy.quantize.lowerings.pool_windows import pool_window
from qdeploy.quantize.lowerings.registry import Context, lowers


@lowers("MaxPool")
def max_pool(context: Context, node: onnx.NodeProto) -> None:
    """``ceil_mode`` becomes pads at the end."""
    graph, source, output = context.integers, node.input[0], node.output[0]
    window = pool_window(context, node)
    graph.node(
        "MaxPool",
        [source],
        [output],
        node.name,
        kernel=window.kernel,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
    )
    graph.types[output] = context.type_of(source)
    graph.layers.append({"name": node.name, "operator": "MaxPool", "kernel": window.kernel, "strides": window.strides})


@lowers("GlobalMaxPool")
def global_max_pool(context: Context, node: onnx.NodeProto) -> None:
    """The largest of each channel."""
    context.integers.node("GlobalMaxPool", [node.input[0]], [node.output[0]], node.name)
    context.integers.types[node.output[0]] = context.type_of(node.input[0])
    context.integers.layers.append({"name": node.name, "operator": "GlobalMaxPool"})
