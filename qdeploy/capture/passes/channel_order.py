"""Permutations of channels: one Gather each, behind what acts on every channel by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN
from .access import attribute_int, attribute_ints, constant, insert, new_initializer, only_consumer, replace

__all__ = ["channel_order", "order_channels"]

_ACTIVATIONS = frozenset({"Relu", "Clip"})


def order_channels(model: ir.Model) -> None:
    """Brings a convolution and what is done to its result next to each other, where channels change places between them.

    Channels change places around quaternion convolutions with groups, and in channel shuffles.

    - Reshape, Transpose and Reshape that permute the channels of [B, C, *S] become one Gather of axis 1;
    - Relu, Clip, the Add of a constant for each channel and ChannelAffine go in front of such a Gather, their constants in
      the other order;
    - two Gathers become one, and one that changes nothing goes.

    Requires: shapes are inferred and shapes of Reshapes fixed. Ensures: nothing where sizes are free or somebody else
    reads what is in between.
    """
    for node in list(model.graph):
        if node.graph is not None and node.domain == "" and node.op_type == "Reshape":
            _shuffle(node)
    for node in list(model.graph):
        if node.graph is not None:
            _move(node)
    for node in list(model.graph):
        if node.graph is not None:
            _compose(node)


def _shuffle(last: ir.Node) -> None:
    """Reshape(Transpose(Reshape(x))) as a Gather."""
    transpose = _only_producer(last, "Transpose")
    first = None if transpose is None else _only_producer(transpose, "Reshape")
    if first is None or transpose is None or not isinstance(last.graph, ir.Graph):
        return
    x, shapes = first.inputs[0], [constant(node.inputs[1]) for node in (first, last)]
    sizes = None if x is None or x.shape is None else list(x.shape)[1:]
    perm = attribute_ints(transpose, "perm")
    if x is None or not sizes or perm is None or perm[0] != 0 or any(shape is None for shape in shapes):
        return
    if not all(isinstance(size, int) for size in sizes):
        return
    whole = [int(size) for size in sizes if isinstance(size, int)]
    places = np.arange(math.prod(whole)).reshape(1, *whole)
    for shape, turned in zip(shapes, (True, False), strict=True):
        wanted = [] if shape is None else [int(size) for size in shape]
        if not wanted or wanted[0] not in {0, -1} or 0 in wanted[1:] or -1 in wanted[1:]:
            return
        if math.prod(wanted[1:]) != places.size:
            return
        places = places.reshape(1, *wanted[1:])
        if turned:
            places = places.transpose(perm)
    channel = math.prod(whole[1:])
    if places.shape[1:] != tuple(whole):
        return
    order = places.reshape(whole[0], channel)[:, 0] // channel
    if not np.array_equal(places.reshape(whole[0], channel), order[:, None] * channel + np.arange(channel)):
        return
    gather = _gather(last, x, order)
    replace(last.outputs[0], gather)
    for node in (last, transpose, first):
        last_graph = node.graph
        if isinstance(last_graph, ir.Graph):
            last_graph.remove(node, safe=True)


def _move(node: ir.Node) -> None:
    """f(Gather(x)) as Gather(f(x)), also through several of them."""
    while True:
        gather = None
        for value in node.inputs:
            producer = None if value is None else value.producer()
            if producer is not None and channel_order(producer) is not None:
                gather = producer
        graph = node.graph
        if gather is None or not isinstance(graph, ir.Graph) or only_consumer(gather.outputs[0]) is not node:
            return
        x, order = gather.inputs[0], channel_order(gather)
        if x is None or order is None:
            return
        constants = _reordered(node, gather, np.argsort(order))
        if constants is None:
            return
        inputs = [
            x if value is gather.outputs[0] else new if new is not None else value
            for value, new in zip(node.inputs, constants, strict=True)
        ]
        moved = insert(node, node.op_type, inputs, domain=node.domain, overload=node.overload, name=node.name)
        for name, attribute in node.attributes.items():
            moved.attributes[name] = attribute
        result, shape = moved.outputs[0], node.outputs[0].shape
        result.type, result.shape = node.outputs[0].type, shape
        again = _gather(node, result, order)
        replace(node.outputs[0], again)
        graph.remove(node, safe=True)
        graph.remove(gather, safe=True)
        node = moved


def _reordered(node: ir.Node, gather: ir.Node, order: NDArray[Any]) -> list[ir.Value | None] | None:
    """New constants of ``node``, None for inputs that stay; None where ``node`` does not act on each channel alone."""
    graph = gather.graph
    if not isinstance(graph, ir.Graph):
        return None
    if node.domain == "" and node.op_type in _ACTIVATIONS:
        scalars = [constant(value) for value in node.inputs[1:] if value is not None]
        return [None] * len(node.inputs) if all(one is not None and one.size == 1 for one in scalars) else None
    affine = node.domain == FLOAT_DOMAIN and node.op_type == "ChannelAffine"
    if not affine and not (node.domain == "" and node.op_type in {"Add", "Mul"}):
        return None
    shape = gather.outputs[0].shape
    rank = None if shape is None else len(shape)
    made: list[ir.Value | None] = []
    for value in node.inputs:
        array = constant(value)
        if value is gather.outputs[0]:
            made.append(None)
            continue
        if array is None or value is None or rank is None:
            return None
        axis = 0 if affine else array.ndim - rank + 1
        if array.size == 1:
            made.append(None)
        elif axis >= 0 and array.ndim <= rank and array.shape[axis] == len(order):
            made.append(new_initializer(graph, f"{value.name}.ordered", array.take(order, axis=axis)))
        elif axis < 0:
            made.append(None)
        else:
            return None
    return made


def _compose(node: ir.Node) -> None:
    order = channel_order(node)
    if order is None or not isinstance(node.graph, ir.Graph):
        return
    first = node.inputs[0].producer() if node.inputs[0] is not None else None
    inner = None if first is None else channel_order(first)
    x = node.inputs[0] if first is None or inner is None else first.inputs[0]
    total = order if inner is None else inner[order]
    if x is None or (inner is None and not _changes_nothing(order)):
        return
    graph = node.graph
    made = x if _changes_nothing(total) else _gather(node, x, total)
    if node.outputs[0].is_graph_output() and made is x:
        return
    replace(node.outputs[0], made)
    graph.remove(node, safe=True)
    if first is None or inner is None or first.outputs[0].is_graph_output():
        return
    if not list(first.outputs[0].uses()):
        graph.remove(first, safe=True)


def _changes_nothing(order: NDArray[Any]) -> bool:
    return np.array_equal(order, np.arange(len(order)))


def channel_order(node: ir.Node) -> NDArray[Any] | None:
    """The indices of a Gather that permutes the channels of images."""
    if node.domain != "" or node.op_type != "Gather" or attribute_int(node, "axis", 0) != 1 or node.inputs[0] is None:
        return None
    indices, shape = constant(node.inputs[1]), node.outputs[0].shape
    source = node.inputs[0].shape
    if indices is None or indices.ndim != 1 or (shape is None and source is None):
        return None
    channels = len(indices)
    if source is not None and source[1] != channels:
        return None
    return indices if np.array_equal(np.sort(indices), np.arange(channels)) else None


def _gather(before: ir.Node, x: ir.Value, order: NDArray[Any]) -> ir.Value:
    graph = before.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"node {before.name} is in no graph")
    indices = new_initializer(graph, f"{before.name}.channels", np.asarray(order, np.int64))
    gather = insert(before, "Gather", [x, indices], name=f"{before.name}.order", attributes={"axis": 1})
    result = gather.outputs[0]
    result.type, result.shape = x.type, x.shape
    return result


def _only_producer(node: ir.Node, op_type: str) -> ir.Node | None:
    """The standard node that writes the first input of ``node`` for it alone."""
    value = node.inputs[0] if node.inputs else None
    producer = None if value is None else value.producer()
    if producer is None or producer.domain != "" or producer.op_type != op_type or value is None:
        return None
    return producer if only_consumer(value) is node else None
