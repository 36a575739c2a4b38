"""Pools of images: what is one in other words, and what stands on the wrong side of one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .access import (
    attribute_float,
    attribute_int,
    attribute_ints,
    constant,
    insert,
    new_initializer,
    only_consumer,
    replace,
)

__all__ = ["POOLS", "image_sizes", "simplify_pools"]

POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")

_GLOBAL = {
    "ReduceMean": "GlobalAveragePool",
    "ReduceMax": "GlobalMaxPool",
    "AveragePool": "GlobalAveragePool",
    "MaxPool": "GlobalMaxPool",
}
_MAXIMA = ("MaxPool", "GlobalMaxPool")
_BOUNDING = ("Relu", "Clip")
_RISING = {"Tanh": 1.0, "Sigmoid": 1.0, "Softplus": 1.0, "Softsign": 1.0, "HardSigmoid": 0.2}
_RISING |= {"LeakyRelu": 0.01, "Elu": 1.0, "Celu": 1.0, "Selu": 1.0}
"""Functions of one value that do not fall where their ``alpha`` is positive, and what it is by default."""


def simplify_pools(model: ir.Model) -> None:
    """Writes pools in one way.

    - A mean or a maximum over all axes of an image, in one step or axis after axis, and a pool whose window is the image,
      are the global pools;
    - ``auto_pad`` becomes pads;
    - Relu and Clip behind a MaxPool go in front of it, where they are bounds of the layer before and cost nothing; a table
      of a function that does not fall goes behind it, where fewer values are looked up. Both commute exactly.

    Requires: shapes are inferred; what they say of an image is only used where its sizes are fixed.
    Ensures: no ``auto_pad`` at pools of images whose sizes are fixed.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type in {"ReduceMean", "ReduceMax"}:
            _join_reductions(node)
    for node in list(model.graph):
        if node.domain == "" and node.op_type in {"MaxPool", "AveragePool"}:
            _resolve_auto_pad(node)
        if node.domain == "" and node.op_type in _GLOBAL:
            _make_global(node)
    # Backwards, so that of two behind each other both pass the pool.
    for node in reversed(list(model.graph)):
        if node.domain == "" and node.op_type in _RISING and attribute_float(node, "alpha", _RISING[node.op_type]) > 0:
            _behind_maximum(node)
    for node in list(model.graph):
        if node.domain == "" and node.op_type in _BOUNDING:
            _before_maximum(node)


def image_sizes(value: ir.Value | None) -> list[int] | None:
    """The fixed sizes of the axes behind samples and channels; None where one is free, or none is known or there."""
    if value is None or value.shape is None or len(value.shape) < 3:
        return None
    sizes = [size for size in list(value.shape)[2:] if isinstance(size, int)]
    return sizes if len(sizes) == len(value.shape) - 2 else None


def _axes(node: ir.Node, rank: int) -> list[int] | None:
    """The constant axes of a reduction, counted from the front."""
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
    return None if axes is None else sorted(int(axis) % rank for axis in axes.reshape(-1).tolist())


def _join_reductions(last: ir.Node) -> None:
    """mean(mean(x, -1), -1) is one mean over both axes: each of the inner means is of as many numbers."""
    value = last.inputs[0]
    first = None if value is None else value.producer()
    graph = last.graph
    if value is None or first is None or first.domain != "" or first.op_type != last.op_type:
        return
    x = first.inputs[0]
    if x is None or x.shape is None or only_consumer(value) is not last or not isinstance(graph, ir.Graph):
        return
    rank = len(x.shape)
    kept = bool(attribute_int(first, "keepdims", 1))
    inner = _axes(first, rank)
    outer = None if inner is None else _axes(last, rank if kept else rank - len(inner))
    if inner is None or outer is None or bool(attribute_int(last, "keepdims", 1)) != kept:
        return
    if not kept:
        rest = [axis for axis in range(rank) if axis not in inner]
        outer = [rest[axis] for axis in outer]
    axes = new_initializer(graph, f"{last.name}.axes", np.array(sorted({*inner, *outer}), np.int64))
    joined = insert(last, last.op_type, [x, axes], name=last.name, attributes={"keepdims": int(kept)}).outputs[0]
    joined.type, joined.shape = last.outputs[0].type, last.outputs[0].shape
    replace(last.outputs[0], joined)
    graph.remove(last, safe=True)
    graph.remove(first, safe=True)


def _resolve_auto_pad(node: ir.Node) -> None:
    """SAME pads such that the result has size / stride numbers, an odd one at the end or at the beginning."""
    found = node.attributes.get("auto_pad")
    mode = "NOTSET" if found is None else found.as_string()
    sizes, kernel = image_sizes(node.inputs[0]), attribute_ints(node, "kernel_shape")
    if mode == "NOTSET":
        node.attributes.pop("auto_pad", None)
    if mode == "NOTSET" or kernel is None or (mode != "VALID" and sizes is None):
        return
    strides = attribute_ints(node, "strides") or [1] * len(kernel)
    dilations = attribute_ints(node, "dilations") or [1] * len(kernel)
    begins, ends = [0] * len(kernel), [0] * len(kernel)
    if mode != "VALID" and sizes is not None:
        for axis, size in enumerate(sizes):
            span = dilations[axis] * (kernel[axis] - 1) + 1
            total = max(0, (-(-size // strides[axis]) - 1) * strides[axis] + span - size)
            less, more = total // 2, total - total // 2
            begins[axis], ends[axis] = (less, more) if mode == "SAME_UPPER" else (more, less)
    node.attributes.pop("auto_pad")
    node.attributes["pads"] = ir.convenience.convert_attribute("pads", begins + ends)


def _make_global(node: ir.Node) -> None:
    """A reduction over the whole image, or a pool with one window."""
    x, graph = node.inputs[0], node.graph
    sizes = image_sizes(x)
    if x is None or x.shape is None or sizes is None or not isinstance(graph, ir.Graph):
        return
    squeezed: list[int] = []
    if node.op_type.startswith("Reduce"):
        axes = _axes(node, len(x.shape))
        # An axis of one number may be reduced or not.
        open_axes = [2 + axis for axis, size in enumerate(sizes) if size > 1]
        if not axes or axes[0] < 2 or not set(open_axes) <= set(axes):
            return
        squeezed = [] if attribute_int(node, "keepdims", 1) else axes
    elif (
        len([value for value in node.outputs if value.uses() or value.is_graph_output()]) > 1
        or attribute_ints(node, "kernel_shape") != sizes
        or any(attribute_ints(node, "pads") or [])
        or any(dilation > 1 for dilation in attribute_ints(node, "dilations") or [])
    ):
        return
    pool = insert(node, _GLOBAL[node.op_type], [x], name=node.name)
    result = pool.outputs[0]
    result.type = node.outputs[0].type
    result.shape = ir.Shape([*list(x.shape)[:2], *[1] * len(sizes)])
    if squeezed:
        places = new_initializer(graph, f"{node.name}.axes", np.array(squeezed, np.int64))
        result = insert(node, "Squeeze", [result, places], name=f"{node.name}_squeeze").outputs[0]
        result.type, result.shape = node.outputs[0].type, node.outputs[0].shape
    replace(node.outputs[0], result)
    graph.remove(node, safe=True)


def _is_maximum(node: ir.Node | None) -> bool:
    return node is not None and node.domain == "" and node.op_type in _MAXIMA


def _before_maximum(node: ir.Node) -> None:
    """Relu(MaxPool(x)) is MaxPool(Relu(x)), which the layer that makes x takes in, unless somebody else reads x."""
    value, output = node.inputs[0], node.outputs[0]
    pool = None if value is None else value.producer()
    if value is None or pool is None or not _is_maximum(pool) or only_consumer(value) is not node:
        return
    x = pool.inputs[0]
    if x is None or only_consumer(x) is not pool or x.producer() is None or len(pool.outputs) > 1:
        return
    _swap(pool, node, x, output)


def _behind_maximum(node: ir.Node) -> None:
    """MaxPool(f(x)) is f(MaxPool(x))."""
    value, output = node.inputs[0], node.outputs[0]
    pool = only_consumer(output)
    if value is None or pool is None or not _is_maximum(pool) or len(pool.outputs) > 1:
        return
    _swap(node, pool, value, pool.outputs[0])


def _swap(first: ir.Node, second: ir.Node, x: ir.Value, output: ir.Value) -> None:
    """second(first(x)) becomes first(second(x)); both read one activation and keep the rest of their inputs."""
    graph = second.graph
    if not isinstance(graph, ir.Graph):
        return
    made = x
    for node in (second, first):
        copy = insert(second, node.op_type, [made, *node.inputs[1:]], name=node.name)
        copy.attributes.update(node.attributes)
        copy.outputs[0].type = output.type
        copy.outputs[0].shape = output.shape if _is_maximum(node) or made is not x else x.shape
        made = copy.outputs[0]
    replace(output, made)
    graph.remove(second, safe=True)
    graph.remove(first, safe=True)
