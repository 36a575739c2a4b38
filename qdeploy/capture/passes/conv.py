"""Convolutions get explicit attributes, constant weights and their layers' names; what is added behind joins the bias."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from ..functions import FLOAT_DOMAIN
from .access import (
    attribute_int,
    attribute_ints,
    constant,
    insert,
    label,
    new_initializer,
    only_consumer,
    replace,
)

__all__ = ["channel_vector", "join_channel_biases", "make_conv", "name_layer"]

_MOST_AXES = 3


def make_conv(model: ir.Model) -> None:
    """Completes every ``Conv``.

    Requires: shapes are inferred where they can be. Ensures: a ``Conv`` has the attributes strides, pads, dilations and
    group, all explicit and no other; its weight is a float32 constant or comes from a node of the float domain, its bias
    is a constant vector or absent.

    Raises:
        UnsupportedModelError: more than three axes of an image, a kernel that the network computes, auto_pad of an image
            whose size is free, negative pads.
        InvalidFileError: attributes that contradict each other.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Conv":
            _complete(node)


def join_channel_biases(model: ir.Model) -> None:
    """Joins constants that are added to the results of convolutions.

    Requires: ``make_conv`` is done. Ensures: no Add of a constant for each channel, or of one for all, to a ``Conv`` that
    nothing else reads.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Add" and node.graph is not None:
            _bias(node)


def name_layer(node: ir.Node, weight: ir.Value) -> None:
    """Names ``node`` after its layer, where its weight's name says it: torch writes ``conv2d`` for ``features.0``."""
    producer = weight.producer()
    while producer is not None and producer.domain == FLOAT_DOMAIN and producer.op_type == "GateRows":
        source = producer.inputs[0]
        producer = None if source is None else source.producer()
    name, ending = (weight.name or "", ".weight") if producer is None else (producer.name or "", ".matrix")
    if name.endswith(ending) and len(name) > len(ending):
        node.name = name.removesuffix(ending)


def _complete(node: ir.Node) -> None:
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None:
        raise InvalidFileError(f"{label(node)}: lacks its input or its weight; export the model again")
    shape = _kernel_shape(node, weight)
    rank = len(shape) - 2
    if not 1 <= rank <= _MOST_AXES:
        raise UnsupportedModelError(
            f"{label(node)}: a convolution over {rank} axes, expected one to {_MOST_AXES}; write it as Linear layers"
        )
    kernel = attribute_ints(node, "kernel_shape")
    if kernel is not None and kernel != list(shape[2:]):
        raise InvalidFileError(f"{label(node)}: kernel_shape is {kernel}, its weight has a kernel of {shape[2:]}")
    strides = attribute_ints(node, "strides") or [1] * rank
    dilations = attribute_ints(node, "dilations") or [1] * rank
    group = attribute_int(node, "group", 1)
    pads = _pads(node, x, shape[2:], strides, dilations)
    for name, values, length, least in (
        ("strides", strides, rank, 1),
        ("dilations", dilations, rank, 1),
        ("group", [group], 1, 1),
        ("pads", pads, 2 * rank, None),
    ):
        if len(values) != length or (least is not None and min(values) < least):
            raise InvalidFileError(f"{label(node)}: {name} are {values}, expected {length} positive integers")
    if min(pads) < 0:
        raise UnsupportedModelError(
            f"{label(node)}: found negative pads {pads}, expected none below 0; crop with a Slice before the convolution"
        )
    if shape[0] % group:
        raise InvalidFileError(f"{label(node)}: {group} groups do not divide the {shape[0]} outputs")
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant(bias)
    if bias is not None and (array is None or array.shape != (shape[0],)):
        raise UnsupportedModelError(
            f"{label(node)}: its bias {bias.name} is no constant of {shape[0]} numbers; train it as a parameter"
        )
    if len(node.inputs) > 2 and bias is None:
        node.resize_inputs(2)
    node.attributes.clear()
    for attribute, value in (("strides", strides), ("pads", pads), ("dilations", dilations), ("group", group)):
        node.attributes[attribute] = ir.convenience.convert_attribute(attribute, value)
    name_layer(node, weight)


def _kernel_shape(node: ir.Node, weight: ir.Value) -> tuple[int, ...]:
    """The kernel's shape; a constant that other nodes rearrange becomes an initializer of its own."""
    array = constant(weight)
    producer = weight.producer()
    if array is not None and array.dtype == np.float32:
        if not weight.is_initializer() and isinstance(node.graph, ir.Graph):
            node.replace_input_with(1, new_initializer(node.graph, f"{node.name}.weight", array))
        return array.shape
    shape = weight.shape
    if producer is None or producer.domain != FLOAT_DOMAIN or shape is None or not shape.is_static():
        raise UnsupportedModelError(
            f"{label(node)}: its kernel {weight.name} is computed by the network, expected a constant; a kernel that "
            "depends on the input has no scale"
        )
    return tuple(int(size) for size in shape.numpy())


def _pads(
    node: ir.Node, x: ir.Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """The explicit pads of a node with pads or auto_pad."""
    rank = len(kernel)
    attribute = node.attributes.get("auto_pad")
    mode = "NOTSET" if attribute is None else attribute.as_string()
    if mode == "NOTSET":
        return attribute_ints(node, "pads") or [0] * (2 * rank)
    if mode == "VALID":
        return [0] * (2 * rank)
    if mode not in {"SAME_UPPER", "SAME_LOWER"}:
        raise InvalidFileError(f"{label(node)}: auto_pad is {mode!r}, which ONNX does not have")
    sizes = None if x.shape is None else list(x.shape)[2:]
    if sizes is None or len(sizes) != rank or not all(isinstance(size, int) for size in sizes):
        # Without strides the pads do not depend on the size.
        if any(stride != 1 for stride in strides):
            raise UnsupportedModelError(
                f"{label(node)}: auto_pad={mode} with strides {list(strides)} over an image whose size is free, expected "
                "fixed pads; export the model with a fixed image size or with explicit pads"
            )
        sizes = [1] * rank
    totals = []
    for axis, size in enumerate(sizes):
        length = int(size) if isinstance(size, int) else 1
        reach = (math.ceil(length / strides[axis]) - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1
        totals.append(max(0, reach - length))
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if mode == "SAME_UPPER" else [*large, *small]


def _bias(node: ir.Node) -> None:
    """Joins ``Conv + constant`` where the constant is one number for each channel, or one for all."""
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        return
    for product, added in (node.inputs, tuple(reversed(node.inputs))):
        conv = None if product is None else product.producer()
        array = constant(added)
        if product is None or conv is None or array is None or conv.domain != "" or conv.op_type != "Conv":
            continue
        weight = conv.inputs[1]
        shape = None if weight is None else weight.shape
        if shape is None or not isinstance(shape[0], int) or only_consumer(product) is not node:
            return
        vector = channel_vector(array, shape[0], len(shape) - 2)
        if vector is None:
            return
        own = constant(conv.inputs[2]) if len(conv.inputs) > 2 else None
        total = vector if own is None else vector + own.astype(np.float32)
        bias = new_initializer(graph, f"{conv.name}.bias", total)
        attributes = {name: _plain(conv, name) for name in ("strides", "pads", "dilations", "group")}
        joined = insert(node, "Conv", [*conv.inputs[:2], bias], name=conv.name, attributes=attributes)
        replace(node.outputs[0], joined.outputs[0])
        graph.remove(node, safe=True)
        graph.remove(conv, safe=True)
        return


def _plain(node: ir.Node, name: str) -> int | list[int]:
    return attribute_int(node, name, 1) if name == "group" else (attribute_ints(node, name) or [])


def channel_vector(array: NDArray[Any], channels: int, rank: int) -> NDArray[np.float32] | None:
    """``array`` as a vector [N] where it broadcasts over all but the channels of [B, N, *out]."""
    if array.dtype != np.float32 or array.ndim > rank + 2:
        return None
    wide = array.reshape((1,) * (rank + 2 - array.ndim) + array.shape)
    if wide.shape[1] not in {1, channels} or wide.size != wide.shape[1]:
        return None
    return np.broadcast_to(wide.reshape(-1), (channels,)).astype(np.float32)
