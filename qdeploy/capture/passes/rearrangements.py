"""Operators that only move numbers, as those that the layer form has: Slice, Gather, Reshape and Transpose."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir

from .access import attribute_int, constant, insert, new_initializer, replace

__all__ = ["rewrite_rearrangements"]


def rewrite_rearrangements(model: ir.Model) -> None:
    """Replaces operators that move data.

    - Split (torch's chunk and split) is a Slice for each part that is read;
    - Resize to the nearest number, by whole factors (torch's Upsample), is a Gather for each enlarged axis;
    - DepthToSpace and SpaceToDepth (torch's PixelShuffle) are Reshape, Transpose and Reshape.

    Requires: shapes are inferred. Ensures: none of these is left where the sizes that it needs are fixed.
    """
    for node in list(model.graph):
        if node.domain != "" or not node.inputs or node.inputs[0] is None:
            continue
        if node.op_type == "Split":
            _split(node, node.inputs[0])
        elif node.op_type == "Resize":
            _resize(node, node.inputs[0])
        elif node.op_type in {"DepthToSpace", "SpaceToDepth"}:
            _blocks(node, node.inputs[0])


def _split(node: ir.Node, x: ir.Value) -> None:
    graph, axis = node.graph, attribute_int(node, "axis", 0)
    if not isinstance(graph, ir.Graph) or x.shape is None or not -len(x.shape) <= axis < len(x.shape):
        return
    length, count = x.shape[axis], len(node.outputs)
    sizes = constant(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if sizes is not None:
        lengths = [int(size) for size in sizes.reshape(-1)]
    elif isinstance(length, int):
        # Equal parts, the last one smaller where they do not divide.
        step = -(-length // count)
        lengths = [step] * (count - 1) + [length - step * (count - 1)]
    else:
        return
    if len(lengths) != count or (isinstance(length, int) and sum(lengths) != length):
        return
    bounds = [0, *itertools.accumulate(lengths)]
    place = new_initializer(graph, f"{node.name}.axis", np.array([axis % len(x.shape)], np.int64))
    ends = [
        new_initializer(graph, f"{node.name}.bound_{index}", np.array([end], np.int64))
        for index, end in enumerate(bounds)
    ]
    for index, output in enumerate(node.outputs):
        part = insert(node, "Slice", [x, ends[index], ends[index + 1], place], name=f"{node.name}_{index}").outputs[0]
        part.type = output.type or x.type
        part.shape = ir.Shape(
            [*list(x.shape)[: axis % len(x.shape)], lengths[index], *list(x.shape)[axis % len(x.shape) + 1 :]]
        )
        replace(output, part)
    graph.remove(node, safe=True)


def _resize(node: ir.Node, x: ir.Value) -> None:
    """Where every size is a whole multiple, and each new place shows the number of which it is a copy."""
    graph, result = node.graph, node.outputs[0].shape
    text = {
        name: attribute.as_string()
        for name, attribute in node.attributes.items()
        if attribute.type == ir.AttributeType.STRING
    }
    if not isinstance(graph, ir.Graph) or x.shape is None or text.get("mode", "nearest") != "nearest":
        return
    factors = _factors(node, x, result)
    mapping = text.get("coordinate_transformation_mode", "half_pixel"), text.get("nearest_mode", "round_prefer_floor")
    if factors is None or mapping not in {
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_floor"),
        ("half_pixel", "round_prefer_ceil"),
    }:
        return
    value, sizes = x, list(x.shape)
    for axis, factor in enumerate(factors):
        size = sizes[axis]
        if factor == 1:
            continue
        if not isinstance(size, int):
            return
        indices = np.arange(size).repeat(factor)
        places = new_initializer(graph, f"{node.name}.axis_{axis}", indices)
        gather = insert(node, "Gather", [value, places], name=f"{node.name}_axis_{axis}", attributes={"axis": axis})
        sizes[axis] = size * factor
        value = gather.outputs[0]
        value.type, value.shape = x.type, ir.Shape(sizes)
    replace(node.outputs[0], value)
    graph.remove(node, safe=True)


def _factors(node: ir.Node, x: ir.Value, result: ir.Shape | None) -> list[int] | None:
    """By how much each axis grows, from the scales or from the sizes; None where it is no whole number or not known."""
    if x.shape is None or "axes" in node.attributes:
        return None
    scales = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if scales is not None and scales.size == len(x.shape):
        found = [float(scale) for scale in scales.reshape(-1)]
    elif result is not None and len(result) == len(x.shape):
        found = []
        for old, new in zip(x.shape, result, strict=True):
            whole = isinstance(old, int) and isinstance(new, int) and old > 0
            found.append(
                new / old if whole and isinstance(old, int) and isinstance(new, int) else 1.0 if old == new else 0.0
            )
    else:
        return None
    return [int(factor) for factor in found] if all(factor >= 1 and factor == int(factor) for factor in found) else None


def _blocks(node: ir.Node, x: ir.Value) -> None:
    graph, block = node.graph, attribute_int(node, "blocksize", 1)
    sizes = None if x.shape is None or len(x.shape) != 4 else [s for s in list(x.shape)[1:] if isinstance(s, int)]
    if not isinstance(graph, ir.Graph) or sizes is None or len(sizes) != 3 or block < 1:
        return
    channels, height, width = sizes
    mode = node.attributes.get("mode")
    if node.op_type == "SpaceToDepth":
        if height % block or width % block:
            return
        inner = [0, channels, height // block, block, width // block, block]
        perm, outer = [0, 3, 5, 1, 2, 4], [0, channels * block * block, height // block, width // block]
    else:
        if channels % (block * block):
            return
        rest = channels // (block * block)
        columns_first = mode is not None and mode.as_string() == "CRD"
        inner = [0, rest, block, block, height, width] if columns_first else [0, block, block, rest, height, width]
        perm = [0, 1, 4, 2, 5, 3] if columns_first else [0, 3, 4, 1, 5, 2]
        outer = [0, rest, height * block, width * block]
    shapes = [
        new_initializer(graph, f"{node.name}.{name}", np.array(shape, np.int64))
        for name, shape in (("inner", inner), ("outer", outer))
    ]
    apart = insert(node, "Reshape", [x, shapes[0]], name=f"{node.name}_apart").outputs[0]
    moved = insert(node, "Transpose", [apart], name=f"{node.name}_moved", attributes={"perm": perm}).outputs[0]
    result = insert(node, "Reshape", [moved, shapes[1]], name=node.name).outputs[0]
    batch = x.shape[0] if x.shape is not None else None
    apart.shape = ir.Shape([batch, *inner[1:]])
    moved.shape = ir.Shape([[batch, *inner[1:]][axis] for axis in perm])
    result.shape = ir.Shape([batch, *outer[1:]])
    for value in (apart, moved, result):
        value.type = x.type
    replace(node.outputs[0], result)
    graph.remove(node, safe=True)
