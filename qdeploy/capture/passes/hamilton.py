"""Recognises quaternion matrices that were built by Neg and Concat from four components."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..functions import FLOAT_DOMAIN, HAMILTON_ROWS
from .access import attribute_int, constant, insert, new_initializer, replace

__all__ = ["recognise_hamilton_matrices"]


def recognise_hamilton_matrices(model: ir.Model) -> None:
    """Replaces Concat(Concat(r, Neg(i), …), …) of four constants by ``qdeploy.float::HamiltonMatrix``.

    Both nestings are read (rows of columns, columns of rows), and both products: L(w), and L(conj w) whose grid is the
    transposed one. Requires: constants are not folded yet. Ensures: nothing for matrices of another build, and for those
    that no product of the top-level graph reads at once (a recurrent layer's, see ``recognise_quaternion_rows``); they
    stay as they are and are folded later.
    """
    for node in list(model.graph):
        if not _multiplies(node.outputs[0], model.graph):
            continue
        grid = _grid(node)
        if grid is None:
            continue
        components = _components(grid)
        conjugate = components is None
        if components is None:
            components = _components([list(column) for column in zip(*grid, strict=True)])
        if components is None:
            continue
        arrays = [constant(component) for component in components]
        shapes = {array.shape for array in arrays if array is not None}
        if any(array is None for array in arrays) or len(shapes) != 1 or len(next(iter(shapes))) < 2:
            continue
        values = list(components)
        if conjugate:
            for index in (1, 2, 3):
                array = arrays[index]
                if array is not None:
                    name = f"{components[index].name}.conjugate"
                    values[index] = new_initializer(model.graph, name, -array.astype(np.float32))
        matrix = insert(
            node,
            "HamiltonMatrix",
            values,
            domain=FLOAT_DOMAIN,
            overload="blocked",
            name=node.name,
            attributes={"grouping": "blocked"},
        )
        shape = next(iter(shapes))
        made = matrix.outputs[0]
        made.type, made.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape((4 * shape[0], 4 * shape[1], *shape[2:]))
        replace(node.outputs[0], made)
        model.graph.remove(node, safe=True)


def _multiplies(value: ir.Value, graph: ir.Graph) -> bool:
    """Whether only products of ``graph`` read the value, transposed or not."""
    readers = [use.node for use in value.uses()]
    return bool(readers) and all(
        reader.domain == ""
        and reader.graph is graph
        and (
            reader.op_type in {"MatMul", "Gemm"}
            or (reader.op_type == "Conv" and reader.inputs[1] is value)
            or (reader.op_type == "Transpose" and _multiplies(reader.outputs[0], graph))
        )
        for reader in readers
    )


Grid = list[list[tuple[int, ir.Value]]]


def _grid(node: ir.Node) -> Grid | None:
    """The 4 x 4 parts of a matrix, row by row, each a sign and a value."""
    outer = _concat(node)
    if outer is None:
        return None
    axis, parts = outer
    lines: Grid = []
    for part in parts:
        producer = part.producer()
        inner = None if producer is None else _concat(producer)
        if inner is None or inner[0] == axis:
            return None
        lines.append([_signed(value) for value in inner[1]])
    return lines if axis == 0 else [list(column) for column in zip(*lines, strict=True)]


def _concat(node: ir.Node) -> tuple[int, list[ir.Value]] | None:
    if node.domain != "" or node.op_type != "Concat" or len(node.inputs) != 4:
        return None
    axis = attribute_int(node, "axis", 0)
    shape = node.outputs[0].shape
    if axis < 0:
        axis += 2 if shape is None else len(shape)
    if axis not in {0, 1}:
        return None
    parts = [value for value in node.inputs if value is not None]
    return (axis, parts) if len(parts) == 4 else None


def _signed(value: ir.Value) -> tuple[int, ir.Value]:
    sign = 1
    producer = value.producer()
    while producer is not None and producer.domain == "" and producer.op_type in {"Neg", "Identity"}:
        source = producer.inputs[0]
        if source is None:
            break
        sign = -sign if producer.op_type == "Neg" else sign
        value, producer = source, source.producer()
    return sign, value


def _components(grid: Grid) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value] | None:
    """r, i, j, k where ``grid`` is L(w); its first column names them."""
    if any(sign != 1 for sign, _ in (row[0] for row in grid)):
        return None
    r, i, j, k = (row[0][1] for row in grid)
    named = {"r": r, "i": i, "j": j, "k": k}
    for row, expected in zip(grid, HAMILTON_ROWS, strict=True):
        for (sign, value), part in zip(row, expected, strict=True):
            if value is not named[part[-1]] or sign != (-1 if part.startswith("-") else 1):
                return None
    return r, i, j, k
