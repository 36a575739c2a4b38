"""Shapes that a graph computes from its own symbolic dimensions become constants."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .access import attribute_int, constant, new_initializer

__all__ = ["fix_reshapes"]

# An element of a shape: a number, the name of a symbolic dimension, or unknown.
Element = int | str | None


def fix_reshapes(model: ir.Model) -> None:
    """Gives every Reshape a constant shape where at most one element is unknown.

    Symbolic dimensions that stay in their place become 0 (copied), one other becomes -1. Requires: shapes are inferred.
    Ensures: such Reshapes read an initializer and have ``allowzero`` 0.
    """
    for node in list(model.graph):
        if node.domain != "" or node.op_type != "Reshape" or len(node.inputs) < 2 or node.inputs[0] is None:
            continue
        if constant(node.inputs[1]) is not None:
            continue
        elements = _elements(node.inputs[1])
        source = node.inputs[0].shape
        if elements is None or any(element == 0 for element in elements):
            continue
        fixed: list[int] = []
        unknown = sum(not isinstance(element, int) for element in elements)
        for place, element in enumerate(elements):
            if isinstance(element, int):
                fixed.append(element)
            elif unknown == 1 and -1 not in elements:
                fixed.append(-1)
            elif source is not None and element is not None and place < len(source) and _same(source[place], element):
                fixed.append(0)
            else:
                fixed.append(-1)
        if fixed.count(-1) > 1:
            continue
        shape = new_initializer(model.graph, f"{node.name or node.outputs[0].name}.shape", np.array(fixed, np.int64))
        node.replace_input_with(1, shape)
        node.attributes.pop("allowzero", None)


def _same(dimension: int | ir.SymbolicDim, element: str) -> bool:
    return isinstance(dimension, ir.SymbolicDim) and dimension.value == element


def _elements(value: ir.Value | None) -> list[Element] | None:
    """The elements of an integer vector (or scalar) that is computed from shapes."""
    array = constant(value)
    if array is not None:
        return [int(element) for element in array.reshape(-1).tolist()]
    node = None if value is None else value.producer()
    if node is None or node.domain != "" or not node.inputs or node.inputs[0] is None:
        return None
    if node.op_type == "Shape":
        shape = node.inputs[0].shape
        if shape is None:
            return None
        stop = node.attributes.get("end")
        part = list(shape)[attribute_int(node, "start", 0) : None if stop is None else stop.as_int()]
        return [one.value if isinstance(one, ir.SymbolicDim) else one for one in part]
    if node.op_type == "Concat":
        result: list[Element] = []
        for one in node.inputs:
            elements = _elements(one)
            if elements is None:
                return None
            result += elements
        return result
    elements = _elements(node.inputs[0])
    if elements is None:
        return None
    if node.op_type in {"Unsqueeze", "Squeeze", "Cast", "Identity", "Reshape"}:
        return elements
    if node.op_type == "Gather":
        places = constant(node.inputs[1])
        return None if places is None else [elements[int(place)] for place in places.reshape(-1).tolist()]
    if node.op_type == "Slice":
        first, last = constant(node.inputs[1]), constant(node.inputs[2])
        plain = len(node.inputs) < 5 or node.inputs[4] is None
        if first is None or last is None or not plain:
            return None
        return elements[int(first.reshape(-1)[0]) : int(last.reshape(-1)[0])]
    if node.op_type == "Mul" and len(node.inputs) == 2:
        other = _elements(node.inputs[1])
        if other is None or len(other) != len(elements):
            return None
        return [
            a * b if isinstance(a, int) and isinstance(b, int) else None for a, b in zip(elements, other, strict=True)
        ]
    return None
