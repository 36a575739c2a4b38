"""Permutations of channels become an order of the rows or columns of the kernels beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN
from .access import attribute_int, constant, insert, new_initializer, only_consumer, replace
from .channel_order import channel_order

__all__ = ["fold_channel_orders"]

Order = NDArray[Any]


def fold_channel_orders(model: ir.Model) -> None:
    """Removes Gathers that permute channels between convolutions without groups and others.

    - What convolutions without groups alone read is read in the order that it has: columns of real kernels change places,
      and a ``HamiltonMatrix`` reads quaternions side by side (``adjacent``) where that is the order, as behind a
      depthwise quaternion convolution;
    - what a convolution without groups alone makes, through Relu, Clip and ChannelAffine, it makes in the wanted order: rows
      of real kernels change places, and ``GateRows`` gives those of a Hamilton matrix group by group.

    The components of quaternion kernels stay as they are. Requires: ``order_channels`` and ``make_conv`` are done.
    Ensures: nothing where a Hamilton matrix has no such order, or somebody else reads what is in between.
    """
    for node in list(model.graph):
        order = channel_order(node)
        if order is not None and not node.outputs[0].is_graph_output() and not _into_readers(node, order):
            _into_layer(node, order)


def _into_readers(gather: ir.Node, order: Order) -> bool:
    """y[c] = x[order[c]], and W y = W' x where column order[c] of W' is column c of W."""
    graph, x, y = gather.graph, gather.inputs[0], gather.outputs[0]
    readers = [use.node for use in y.uses()]
    if not isinstance(graph, ir.Graph) or x is None or not readers:
        return False
    if not all(_is_plain(reader) and reader.inputs[0] is y and reader.inputs[1] is not y for reader in readers):
        return False
    kernels = [_columns(reader, order) for reader in readers]
    if any(kernel is None for kernel in kernels):
        return False
    for reader, kernel in zip(readers, kernels, strict=True):
        reader.replace_input_with(1, kernel)
    replace(y, x)
    graph.remove(gather, safe=True)
    return True


def _columns(conv: ir.Node, order: Order) -> ir.Value | None:
    weight, graph = conv.inputs[1], conv.graph
    array = constant(weight)
    if weight is None or not isinstance(graph, ir.Graph):
        return None
    if array is not None:
        return new_initializer(graph, f"{conv.name}.weight", array[:, np.argsort(order)])
    rows = _float_producer(weight, "GateRows")
    hamilton = _float_producer(weight if rows is None else rows.inputs[0], "HamiltonMatrix")
    if (
        hamilton is None
        or hamilton.attributes["grouping"].as_string() != "blocked"
        or _groups(order) != len(order) // 4
    ):
        return None
    # The Gather's inverse order is that of one quaternion after the other.
    made = insert(
        conv,
        "HamiltonMatrix",
        list(hamilton.inputs),
        domain=FLOAT_DOMAIN,
        overload="adjacent",
        name=hamilton.name,
        attributes={"grouping": "adjacent"},
    ).outputs[0]
    made.type, made.shape = weight.type, weight.shape
    if rows is None:
        return made
    parts, gates = attribute_int(rows, "parts", 1), [int(one) for one in rows.attributes["order"].as_ints()]
    return _gate_rows(conv, made, rows.name, parts, gates)


def _into_layer(gather: ir.Node, order: Order) -> None:
    graph = gather.graph
    if not isinstance(graph, ir.Graph):
        return
    between: list[ir.Node] = []
    value, reader = gather.inputs[0], gather
    while value is not None and only_consumer(value) is reader:
        producer = value.producer()
        if producer is None:
            return
        if _is_plain(producer):
            kernel = _rows(producer, order)
            if kernel is None or not _reorder(graph, [producer, *between], order):
                return
            producer.replace_input_with(1, kernel)
            x = gather.inputs[0]
            if x is not None:
                replace(gather.outputs[0], x)
                graph.remove(gather, safe=True)
            return
        if not (
            _is_float(producer, "ChannelAffine") or (producer.domain == "" and producer.op_type in {"Relu", "Clip"})
        ):
            return
        between.append(producer)
        value, reader = producer.inputs[0], producer


def _rows(conv: ir.Node, order: Order) -> ir.Value | None:
    weight, graph = conv.inputs[1], conv.graph
    array = constant(weight)
    if weight is None or not isinstance(graph, ir.Graph):
        return None
    if array is not None:
        return new_initializer(graph, f"{conv.name}.weight", array[order])
    groups = _groups(np.argsort(order))
    if _float_producer(weight, "HamiltonMatrix") is None or groups is None:
        return None
    return _gate_rows(conv, weight, f"{conv.name}.rows", 4, list(range(groups)))


def _reorder(graph: ir.Graph, nodes: list[ir.Node], order: Order) -> bool:
    """Biases and constants of ChannelAffine in the order; False, and nothing is done, where one is no constant."""
    places = [
        (node, index)
        for node in nodes
        if node.op_type in {"Conv", "ChannelAffine"}
        for index in range(2 if node.op_type == "Conv" else 1, len(node.inputs))
    ]
    arrays = [constant(node.inputs[index]) for node, index in places]
    if any(array is None or array.shape != (len(order),) for array in arrays):
        return False
    for (node, index), array in zip(places, arrays, strict=True):
        if array is not None:
            node.replace_input_with(index, new_initializer(graph, f"{node.name}.ordered_{index}", array[order]))
    return True


def _gate_rows(conv: ir.Node, matrix: ir.Value, name: str | None, parts: int, gates: list[int]) -> ir.Value:
    made = insert(
        conv, "GateRows", [matrix], domain=FLOAT_DOMAIN, name=name, attributes={"parts": parts, "order": gates}
    ).outputs[0]
    made.type, made.shape = matrix.type, matrix.shape
    return made


def _groups(order: Order) -> int | None:
    """G where channels go from G groups, each blocked, to blocked ones by ``order``, else None."""
    channels = len(order)
    inverse = np.argsort(order)
    together = int(np.argmax(np.append(inverse != np.arange(channels), True)))
    if channels % 4 or not 0 < together < channels or (channels // 4) % together:
        return None
    groups = channels // (4 * together)
    grouped = np.arange(channels).reshape(4, groups, together).transpose(1, 0, 2).reshape(-1)
    return groups if np.array_equal(inverse, grouped) else None


def _is_plain(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type == "Conv" and attribute_int(node, "group", 1) == 1


def _is_float(node: ir.Node, op_type: str) -> bool:
    return node.domain == FLOAT_DOMAIN and node.op_type == op_type


def _float_producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    producer = None if value is None else value.producer()
    return producer if producer is not None and _is_float(producer, op_type) else None
