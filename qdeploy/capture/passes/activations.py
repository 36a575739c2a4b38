"""Activations behind a Transpose: they work number by number, so that they may as well stand in front of it."""

from __future__ import annotations

import onnx_ir as ir

from ..functions import FLOAT_DOMAIN
from .access import constant, insert, only_consumer, replace

__all__ = ["activation_in_front"]

_ACTIVATIONS = frozenset({"Relu", "Clip", "Tanh", "Sigmoid"})
_LAYERS = frozenset({"Linear", "ChannelAffine", "QuaternionAffine"})


def activation_in_front(node: ir.Node) -> ir.Node | None:
    """Moves an activation in front of the Transpose that it reads, and returns the node that took its place.

    Where channels are the last axis, a Transpose follows every convolution and another one stands before the next. Nothing is
    between them any more once the activation has moved, and it becomes a bound of the convolution.

    Requires: nodes are sorted. Ensures: nothing is moved that neither a layer in front nor a Transpose behind has a use for.
    """
    graph, x = node.graph, node.inputs[0] if node.inputs else None
    transpose = None if x is None else x.producer()
    if not isinstance(graph, ir.Graph) or x is None or transpose is None or node.domain or transpose.domain:
        return None
    source = transpose.inputs[0] if transpose.inputs else None
    if node.op_type not in _ACTIVATIONS or transpose.op_type != "Transpose" or source is None:
        return None
    if any(value is not None and constant(value) is None for value in node.inputs[1:]):
        return None
    if only_consumer(x) is not node or not (_is_layer(source.producer()) or _reader(node) == "Transpose"):
        return None
    moved = insert(
        transpose,
        node.op_type,
        [source, *node.inputs[1:]],
        name=node.name,
        attributes={name: attribute.value for name, attribute in node.attributes.items()},
    )
    moved.outputs[0].shape, moved.outputs[0].type = source.shape, source.type
    transpose.replace_input_with(0, moved.outputs[0])
    replace(node.outputs[0], x)
    graph.remove(node, safe=True)
    return moved


def _is_layer(producer: ir.Node | None) -> bool:
    if producer is None:
        return False
    return producer.op_type in _LAYERS if producer.domain == FLOAT_DOMAIN else producer.op_type == "Conv"


def _reader(node: ir.Node) -> str | None:
    """The operator of the only node that reads the result."""
    reader = only_consumer(node.outputs[0])
    return None if reader is None or reader.domain else reader.op_type
