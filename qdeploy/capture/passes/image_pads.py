"""Pads before convolutions: zeros join the convolution, and mirrored, repeated or periodic borders become Gathers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError

from .access import attribute_ints, constant, insert, label, new_initializer, replace

__all__ = ["resolve_pads"]

_NUMPY_MODES = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def resolve_pads(model: ir.Model) -> None:
    """Removes Pads.

    - A Pad of zeros around images that convolutions alone read joins the pads of these convolutions;
    - a Pad that repeats numbers of the image (reflect, edge, wrap) becomes one Gather for each padded axis: it moves data
      alone, so that the integer type stays.

    Requires: shapes are inferred, ``make_conv`` is done. Ensures: no Pad with ``mode`` reflect, edge or wrap is left.

    Raises:
        UnsupportedModelError: such a Pad of an axis whose size is free.
    """
    for node in list(model.graph):
        if node.domain != "" or node.op_type != "Pad" or node.inputs[0] is None:
            continue
        mode_attribute = node.attributes.get("mode")
        mode = "constant" if mode_attribute is None else mode_attribute.as_string()
        pads = _pads(node)
        if pads is None:
            continue
        if mode == "constant":
            _join(node, pads)
        elif mode in _NUMPY_MODES:
            _gather(node, pads, mode)


def _pads(node: ir.Node) -> NDArray[np.int64] | None:
    """Pads ``[2, rank]``, beginnings and ends of all axes."""
    found = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if found is None or shape is None:
        return None
    pads = np.zeros((2, len(shape)), np.int64)
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] is not None else None
    places = np.arange(len(shape)) if axes is None else axes.reshape(-1) % len(shape)
    if found.size != 2 * len(places):
        return None
    pads[:, places] = found.reshape(2, -1)
    return pads


def _join(node: ir.Node, pads: NDArray[np.int64]) -> None:
    """Into the convolutions behind, all of which add zeros too."""
    value = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    output = node.outputs[0]
    readers = [use.node for use in output.uses()]
    convolutions = all(one.domain == "" and one.op_type == "Conv" and one.inputs[0] is output for one in readers)
    zeros = value is None or not value.any()
    if not zeros or not readers or not convolutions or output.is_graph_output() or pads.min() < 0 or pads[:, :2].any():
        return
    for reader in readers:
        own = np.array(attribute_ints(reader, "pads"), np.int64)
        joined = (own + pads[:, 2:].reshape(-1)).tolist()
        reader.attributes["pads"] = ir.convenience.convert_attribute("pads", joined)
    source = node.inputs[0]
    if source is not None and isinstance(node.graph, ir.Graph):
        replace(output, source)
        node.graph.remove(node, safe=True)


def _gather(node: ir.Node, pads: NDArray[np.int64], mode: str) -> None:
    """One Gather an axis; NumPy pads the row 0, 1, 2 ... as ONNX pads the image."""
    graph, value = node.graph, node.inputs[0]
    if not isinstance(graph, ir.Graph) or value is None or value.shape is None:
        return
    sizes = list(value.shape)
    for axis in np.flatnonzero(pads.any(axis=0)).tolist():
        size = sizes[axis]
        if not isinstance(size, int) or axis == 0:
            raise UnsupportedModelError(
                f"{label(node)}: pads axis {axis}, whose size is free, with mode={mode}, expected an axis of fixed size; "
                "use zeros, or export with a fixed size"
            )
        begin, end = (int(one) for one in pads[:, axis])
        row = np.arange(size)[max(0, -begin) : size - max(0, -end)]
        indices = np.pad(row, (max(0, begin), max(0, end)), mode=_NUMPY_MODES[mode])  # type: ignore[call-overload]
        places = new_initializer(graph, f"{node.name}.axis_{axis}", indices.astype(np.int64))
        gather = insert(node, "Gather", [value, places], name=f"{node.name}_axis_{axis}", attributes={"axis": axis})
        result = gather.outputs[0]
        sizes[axis] = len(indices)
        result.type, result.shape = value.type, ir.Shape(sizes)
        value = result
    replace(node.outputs[0], value)
    graph.remove(node, safe=True)
