"""Shortens layout operators around recurrent layers, so that a last state is read where it is made."""

from __future__ import annotations

import onnx_ir as ir

from ..functions import FLOAT_DOMAIN, RECURRENT
from .access import attribute_int, attribute_ints, constant, replace

__all__ = ["simplify_layout"]


def simplify_layout(model: ir.Model) -> None:
    """Removes layout operators whose result is at hand already.

    - Squeeze(Unsqueeze(x, a), a) and a pair of Transposes that cancel are ``x``;
    - Gather of the only part of an axis that Unsqueeze made is ``x`` as well;
    - Gather of one part of a Concat of Unsqueeze'd tensors (torch's stack, and then one layer of it) is that tensor;
    - the last step of all states of an ``RNN``, ``GRU`` or ``LSTM``, also after a Transpose, is its second result.

    Ensures: none of these is left, also where what is in between has other readers. Requires: nodes are sorted.
    """
    for node in list(model.graph):
        original = _pair(node) or _only_part(node) or _part_of_stack(node) or _last_step(node)
        if original is None:
            continue
        output = node.outputs[0]
        if output.is_graph_output() and (original.producer() is None or original.is_graph_output()):
            continue
        replace(output, original)
        model.graph.remove(node, safe=True)


def _before(node: ir.Node, op_type: str) -> ir.Node | None:
    """The node that writes the first input of ``node``, where it is the standard operator ``op_type``."""
    source = node.inputs[0] if node.inputs else None
    producer = None if source is None else source.producer()
    return producer if producer is not None and producer.domain == "" and producer.op_type == op_type else None


def _pair(node: ir.Node) -> ir.Value | None:
    if node.domain == "" and node.op_type == "Squeeze":
        first = _before(node, "Unsqueeze")
        return first.inputs[0] if first is not None and _axes(first) == _axes(node) is not None else None
    if node.domain == "" and node.op_type == "Transpose":
        first = _before(node, "Transpose")
        if first is None:
            return None
        inner, outer = attribute_ints(first, "perm"), attribute_ints(node, "perm")
        cancel = (
            inner is not None and outer is not None and [inner[place] for place in outer] == list(range(len(inner)))
        )
        return first.inputs[0] if cancel else None
    return None


def _axes(node: ir.Node) -> list[int] | None:
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if axes is None else sorted(int(axis) for axis in axes.reshape(-1).tolist())


def _scalar_index(node: ir.Node) -> int | None:
    """The index of a Gather that takes one slice and drops the axis."""
    if node.domain != "" or node.op_type != "Gather":
        return None
    index = constant(node.inputs[1])
    return int(index.item()) if index is not None and index.ndim == 0 else None


def _only_part(node: ir.Node) -> ir.Value | None:
    index, first = _scalar_index(node), _before(node, "Unsqueeze")
    if index not in {0, -1} or first is None or _axes(first) != [attribute_int(node, "axis", 0)]:
        return None
    return first.inputs[0]


def _part_of_stack(node: ir.Node) -> ir.Value | None:
    index, stack = _scalar_index(node), _before(node, "Concat")
    axis = attribute_int(node, "axis", 0)
    if index is None or stack is None or axis < 0 or attribute_int(stack, "axis", 0) != axis:
        return None
    parts = [None if value is None else value.producer() for value in stack.inputs]
    if any(part is None or part.op_type != "Unsqueeze" or _axes(part) != [axis] for part in parts):
        return None
    part = parts[index] if -len(parts) <= index < len(parts) else None
    return None if part is None else part.inputs[0]


def _last_step(node: ir.Node) -> ir.Value | None:
    if _scalar_index(node) != -1:
        return None
    axis, states = attribute_int(node, "axis", 0), node.inputs[0]
    transpose = _before(node, "Transpose")
    if transpose is not None and attribute_ints(transpose, "perm") == [1, 0, 2]:
        axis, states = {0: 1, 1: 0}.get(axis, axis), transpose.inputs[0]
    rnn = None if states is None else states.producer()
    if rnn is None or rnn.domain != FLOAT_DOMAIN or rnn.op_type not in RECURRENT:
        return None
    if axis != 0 or states is not rnn.outputs[0]:
        return None
    return rnn.outputs[1]
