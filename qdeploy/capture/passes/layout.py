"""Cancels pairs of layout operators, such as the Squeeze that follows an RNN operator's extra axis."""

from __future__ import annotations

import onnx_ir as ir

from .access import attribute_ints, constant, replace

__all__ = ["cancel_layout_pairs"]


def cancel_layout_pairs(model: ir.Model) -> None:
    """Removes Squeeze(Unsqueeze(x, a), a) and Transpose(Transpose(x)) that gives ``x``.

    Ensures: neither pair is left, also where the first result has other readers.
    """
    for node in list(model.graph):
        source = node.inputs[0] if node.inputs else None
        producer = None if source is None else source.producer()
        if producer is None or node.domain != "" or producer.domain != "" or producer.inputs[0] is None:
            continue
        pair = (producer.op_type, node.op_type)
        if (pair == ("Unsqueeze", "Squeeze") and _same_axes(producer, node)) or (
            pair == ("Transpose", "Transpose") and _is_identity(producer, node)
        ):
            output = node.outputs[0]
            original = producer.inputs[0]
            if output.is_graph_output() and (original.producer() is None or original.is_graph_output()):
                continue
            replace(output, original)
            model.graph.remove(node, safe=True)


def _same_axes(first: ir.Node, second: ir.Node) -> bool:
    axes = [constant(node.inputs[1]) if len(node.inputs) > 1 else None for node in (first, second)]
    if axes[0] is None or axes[1] is None:
        return False
    return sorted(axes[0].tolist()) == sorted(axes[1].tolist())


def _is_identity(first: ir.Node, second: ir.Node) -> bool:
    inner, outer = attribute_ints(first, "perm"), attribute_ints(second, "perm")
    return inner is not None and outer is not None and [inner[place] for place in outer] == list(range(len(inner)))
