"""Drops a Softmax or LogSoftmax that ends the graph: the largest logit is the largest probability."""

from __future__ import annotations

import onnx_ir as ir

from .access import attribute_int, replace

__all__ = ["drop_softmax"]

# An axis beyond it is a broken file's; nothing here has more than four axes.
_LARGEST_RANK = 8


def drop_softmax(model: ir.Model) -> dict[str, tuple[str, int]]:
    """Removes Softmax and LogSoftmax whose result is an output of the graph and nothing else.

    Ensures: no output of the graph is written by Softmax or LogSoftmax.

    Returns:
        Output name to operator and axis, for the comparison with the source.
    """
    dropped: dict[str, tuple[str, int]] = {}
    for node in list(model.graph):
        if node.domain != "" or node.op_type not in {"Softmax", "LogSoftmax"}:
            continue
        output, source = node.outputs[0], node.inputs[0]
        if source is None or not output.is_graph_output() or output.uses() or source.producer() is None:
            continue
        axis = attribute_int(node, "axis", -1)
        if not -_LARGEST_RANK <= axis < _LARGEST_RANK:
            continue
        dropped[output.name or ""] = (node.op_type, axis)
        replace(output, source)
        model.graph.remove(node, safe=True)
    return dropped
