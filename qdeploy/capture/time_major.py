"""Recurrent ONNX operators of layout 1, whose tensors have the batch first, become operators of layout 0."""

from __future__ import annotations

import onnx

from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["make_time_major"]

_OPERATORS = ("RNN", "GRU", "LSTM")
_SEQUENCE, _STATES = 0, (5, 6)
_SWAPPED = [1, 0, 2]
_STATES_OF_STEPS = [2, 0, 1, 3]
"""From ``[T, directions, B, H]``, layout 0, to ``[B, T, directions, H]``."""


def make_time_major(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with a Transpose around each RNN, GRU and LSTM of layout 1, which then has layout 0; the results are the same.

    onnxruntime runs layout 0 alone, so that a file of the other one could not be compared with what is captured of it.

    Args:
        model: of opset 14 or newer, where layout 1 exists; it is not changed.

    Raises:
        UnsupportedModelError: an initial state of layout 1 that is an input of the graph: a stack of states has the
            batch second in all other models, and which axis is meant could not be told.
    """
    if not any(_is_batch_first(node) for node in model.graph.node):
        return model
    inputs = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    for node in filter(_is_batch_first, model.graph.node):
        for index in _STATES:
            if index < len(node.input) and node.input[index] in inputs:
                raise UnsupportedModelError(
                    f"node {node.name or f'that writes {node.output[0]}'} ({node.op_type}): layout=1 with the initial "
                    f"state {node.input[index]} [batch, directions, units] as an input of the model is not supported; "
                    "make the input [batch, units] with an Unsqueeze behind it, or export the layer with layout=0"
                )
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    for node in model.graph.node:
        changed.graph.node.extend(_around(node, taken) if _is_batch_first(node) else [node])
    return changed


def _is_batch_first(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is such an operator."""
    return (
        node.domain in ("", "ai.onnx")
        and node.op_type in _OPERATORS
        and any(attribute.name == "layout" and attribute.i == 1 for attribute in node.attribute)
    )


def _around(node: onnx.NodeProto, taken: set[str]) -> list[onnx.NodeProto]:
    """The operator of layout 0, between what transposes its inputs and its outputs."""
    layer = onnx.NodeProto()
    layer.CopyFrom(node)
    kept = [attribute for attribute in node.attribute if attribute.name != "layout"]
    del layer.attribute[:]
    layer.attribute.extend(kept)
    before, after = [], []
    for index in (_SEQUENCE, *_STATES):
        if index < len(node.input) and node.input[index]:
            layer.input[index] = _new_name(f"{node.input[index]}_time_major", taken)
            before.append(onnx.helper.make_node("Transpose", [node.input[index]], [layer.input[index]], perm=_SWAPPED))
    for index, name in enumerate(node.output):
        if name:
            layer.output[index] = _new_name(f"{name}_time_major", taken)
            perm = _SWAPPED if index else _STATES_OF_STEPS
            after.append(onnx.helper.make_node("Transpose", [layer.output[index]], [name], perm=perm))
    return [*before, layer, *after]


def _new_name(wanted: str, taken: set[str]) -> str:
    """``wanted``, with a number where the graph has the name."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
