"""Zeros around images that pools read are the pools' own pads; what is left of Pads is written in one way."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .access import attribute_int, attribute_ints, constant, new_initializer, only_consumer, replace

__all__ = ["join_pool_pads"]


def join_pool_pads(model: ir.Model) -> None:
    """Gives pools the zeros in front of them, where the result is the same.

    - A mean that has no pads of its own counts them as places;
    - a maximum of numbers that a Relu made is not changed by zeros, nor by leaving them out.

    Requires: pads of convolutions are joined. Ensures: every other Pad of constants around the axes of an image has pads for
    all axes, and no fourth input.
    """
    for node in list(model.graph):
        if node.domain != "" or node.op_type != "Pad" or node.inputs[0] is None:
            continue
        mode, pads = node.attributes.get("mode"), pads_of_all_axes(node)
        if pads is None or (mode is not None and mode.as_string() != "constant"):
            continue
        if not _join(node, pads):
            whole = new_initializer(model.graph, f"{node.name}.pads", pads.reshape(-1))
            value = node.inputs[2] if len(node.inputs) > 2 else None
            node.resize_inputs(2 if value is None else 3)
            node.replace_input_with(1, whole)


def pads_of_all_axes(node: ir.Node) -> NDArray[np.int64] | None:
    """Constant pads ``[2, rank]``, beginnings and ends; None where they or the rank are not known."""
    found = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if found is None or shape is None:
        return None
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] is not None else None
    places = np.arange(len(shape)) if axes is None else axes.reshape(-1) % len(shape)
    if found.size != 2 * len(places):
        return None
    pads = np.zeros((2, len(shape)), np.int64)
    pads[:, places] = found.reshape(2, -1)
    return pads


def _join(node: ir.Node, pads: NDArray[np.int64]) -> bool:
    """Whether the one pool behind took the pads."""
    output, source, graph = node.outputs[0], node.inputs[0], node.graph
    pool = only_consumer(output)
    value = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    zeros = len(node.inputs) < 3 or node.inputs[2] is None or (value is not None and not value.any())
    if pool is None or source is None or pool.domain != "" or not isinstance(graph, ir.Graph) or not zeros:
        return False
    if pool.op_type not in {"AveragePool", "MaxPool"} or pads.min() < 0 or pads[:, :2].any():
        return False
    kernel, own = (
        attribute_ints(pool, "kernel_shape") or [],
        attribute_ints(pool, "pads") or [0] * 2 * (pads.shape[1] - 2),
    )
    # A runtime refuses pads as large as the window.
    if (pads[:, 2:] >= np.array(kernel)).any() or attribute_int(pool, "ceil_mode", 0) or "auto_pad" in pool.attributes:
        return False
    rectifier = source.producer()
    if pool.op_type == "AveragePool":
        if any(own):
            return False
        pool.attributes["count_include_pad"] = ir.convenience.convert_attribute("count_include_pad", 1)
    elif any(own) or rectifier is None or rectifier.domain != "" or rectifier.op_type != "Relu":
        return False
    pool.attributes["pads"] = ir.convenience.convert_attribute("pads", pads[:, 2:].reshape(-1).tolist())
    replace(output, source)
    graph.remove(node, safe=True)
    return True
