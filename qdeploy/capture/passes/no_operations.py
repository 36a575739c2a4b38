"""Removes what does nothing at inference: Identity, Dropout, and Cast of float32 to itself."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .access import attribute_int, constant, replace

__all__ = ["remove_no_operations"]


def remove_no_operations(model: ir.Model) -> list[str]:
    """Removes nodes that give back their input.

    Requires: Dropout's training mode is constant.
    Ensures: no Identity but one that names an input or an initializer as an output; no inference Dropout.

    Returns:
        A note for the Dropout nodes that were removed.
    """
    graph = model.graph
    dropouts = []
    for node in list(graph):
        if node.domain != "":
            continue
        if node.op_type == "Dropout":
            mode = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            has_mode = len(node.inputs) > 2 and node.inputs[2] is not None
            mask_used = len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output())
            if mask_used or (has_mode and (mode is None or bool(mode.any()))):
                continue
            dropouts.append(node.name or "unnamed")
        elif node.op_type == "Cast":
            if attribute_int(node, "to", 0) != ir.DataType.FLOAT or _dtype(node.inputs[0]) != np.float32:
                continue
        elif node.op_type != "Identity":
            continue
        source = node.inputs[0]
        if source is None:
            continue
        output = node.outputs[0]
        if output.is_graph_output() and (source.producer() is None or source.is_graph_output()):
            continue
        replace(output, source)
        graph.remove(node, safe=True)
    return [f"dropout removed: {', '.join(dropouts)}"] if dropouts else []


def _dtype(value: ir.Value | None) -> object:
    return None if value is None or value.dtype is None else value.dtype.numpy()
