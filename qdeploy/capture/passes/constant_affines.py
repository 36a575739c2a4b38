"""Products and sums of an activation and a constant for each channel become ``qdeploy.float::ChannelAffine``."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN, TRAILING
from .access import attribute_int, constant, new_initializer, only_consumer, replace
from .batch_norm import insert_affine

__all__ = ["make_constant_affines"]

Affine = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Scale and shift ``[C]``."""


def make_constant_affines(model: ir.Model) -> None:
    """Replaces Mul, Add, Sub and Div with a constant, and joins affine maps of the same channels that follow each other.

    Exporters write batch normalization so, and people the scaling of their inputs: ``(x - mean) / std``. The constant is one
    number, or one for each entry of one axis that is not the first.

    Requires: layers have taken the constants that are their biases. Ensures: what is left with a constant has one for more than
    one axis, for the axis of the samples, or for one whose length is not known.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type in {"Mul", "Add", "Sub", "Div"} and len(node.inputs) == 2:
            _replace(node)
    for node in list(model.graph):
        if node.domain == FLOAT_DOMAIN and node.op_type == "ChannelAffine":
            _join(node)


def _replace(node: ir.Node) -> None:
    graph = node.graph
    operands = [constant(value) for value in node.inputs]
    places = [place for place, array in enumerate(operands) if array is not None]
    if not isinstance(graph, ir.Graph) or len(places) != 1:
        return
    array, x = operands[places[0]], node.inputs[1 - places[0]]
    if array is None or x is None or array.dtype != np.float32 or (node.op_type == "Div" and places[0] == 0):
        return
    found = _channels(array, x.shape or node.outputs[0].shape)
    if found is None:
        return
    values, trailing = found
    one, zero = np.ones(len(values)), np.zeros(len(values))
    with np.errstate(divide="ignore"):
        scale, shift = {
            "Mul": (values, zero),
            "Div": (1.0 / values, zero),
            "Add": (one, values),
            "Sub": (one, -values) if places[0] == 1 else (-one, values),
        }[node.op_type]
    if not np.isfinite(scale.astype(np.float32)).all():
        return
    written = insert_affine(node, x, _constants(graph, node, scale, shift), trailing)
    written.outputs[0].shape, written.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    replace(node.outputs[0], written.outputs[0])
    graph.remove(node, safe=True)


def _channels(array: NDArray[np.float32], shape: ir.Shape | None) -> tuple[NDArray[np.float64], int] | None:
    """One number for each channel, and how many axes stand behind them; ``None`` where there is no such axis."""
    if shape is None or len(shape) < 2 or array.ndim > len(shape):
        return None
    sizes = [size if isinstance(size, int) else None for size in shape]
    if array.size == 1:
        # Any axis does: the last whose length is known.
        axis = next((axis for axis in range(len(sizes) - 1, 0, -1) if sizes[axis] is not None), None)
    else:
        first = len(sizes) - array.ndim
        wide = [first + place for place, size in enumerate(array.shape) if size != 1]
        axis = wide[0] if len(wide) == 1 and wide[0] > 0 and sizes[wide[0]] == array.size else None
    if axis is None or len(sizes) - 1 - axis not in TRAILING:
        return None
    values = np.broadcast_to(array.astype(np.float64).reshape(-1), (int(sizes[axis] or 0),))
    return values, len(sizes) - 1 - axis


def _join(node: ir.Node) -> None:
    """``second(first(x))`` becomes one map, where nothing else reads what is between."""
    graph, x = node.graph, node.inputs[0]
    first = None if x is None else x.producer()
    if not isinstance(graph, ir.Graph) or x is None or first is None or only_consumer(x) is not node:
        return
    same = first.domain == FLOAT_DOMAIN and first.op_type == "ChannelAffine"
    if not same or attribute_int(first, "trailing", 0) != attribute_int(node, "trailing", 0):
        return
    inner, outer = _affine(first), _affine(node)
    source = first.inputs[0]
    if inner is None or outer is None or source is None or len(inner[0]) != len(outer[0]):
        return
    scale, shift = inner[0] * outer[0], inner[1] * outer[0] + outer[1]
    for place, value in enumerate([source, *_constants(graph, node, scale, shift)]):
        node.replace_input_with(place, value)
    graph.remove(first, safe=True)


def _affine(node: ir.Node) -> Affine | None:
    scale, shift = constant(node.inputs[1]), constant(node.inputs[2])
    if scale is None or shift is None:
        return None
    return scale.astype(np.float64), shift.astype(np.float64)


def _constants(
    graph: ir.Graph, node: ir.Node, scale: NDArray[np.float64], shift: NDArray[np.float64]
) -> list[ir.Value]:
    name = node.name or node.op_type.lower()
    return [
        new_initializer(graph, f"{name}.{part}", array.astype(np.float32))
        for part, array in (("scale", scale), ("shift", shift))
    ]
