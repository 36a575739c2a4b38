"""Writes, before a loop, what its operators read, and after them what the graph reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

from ...functions import FLOAT_DOMAIN
from ..access import attribute_int, attribute_ints, constant, insert, new_initializer
from .algebra import NO_SOURCE, Algebra, Matrix, Polynomial
from .cells.cell import Cell

__all__ = ["Axis", "Outside", "from_rows", "to_rows"]

# An axis of a tensor outside of the loop: steps, samples, or features of this number.
Axis = Literal["T", "B"] | int

_STEPS_BY_SAMPLES = [1, 0, 2]


class Outside:
    """Sequences [T, B, width] of the sources of a step, and the polynomials over them, as nodes before the loop."""

    def __init__(self, before: ir.Node, graph: ir.Graph, algebra: Algebra) -> None:
        self._before = before
        self._graph = graph
        self._algebra = algebra
        self.sequences: dict[int, ir.Value] = {}
        self._transposed: dict[ir.Value, ir.Value] = {}

    def written(self, value: Polynomial, name: str) -> ir.Value:
        """``value`` of every step [T, B, width]; what has no layer in it is named by a later pass."""
        total: ir.Value | None = None
        bias: Matrix | None = None
        for (atoms, source), coefficient in value.terms.items():
            if not atoms and source == NO_SOURCE:
                bias = coefficient
                continue
            term: ir.Value | None = None
            if source != NO_SOURCE:
                term = self._product(self.sequence(source, name), coefficient, name)
            elif not np.array_equal(coefficient, np.ones(value.width)):
                term = new_initializer(self._graph, f"{name}.factor", coefficient.astype(np.float32))
            for number in atoms:
                factor = self._activated(number, name)
                term = factor if term is None else self._node("Mul", [term, factor], name)
            total = term if total is None else self._node("Add", [total, term], name)
        if bias is not None or total is None:
            vector = np.zeros(value.width) if bias is None else bias
            added = new_initializer(self._graph, f"{name}.bias", vector.astype(np.float32))
            total = added if total is None else self._node("Add", [total, added], name)
        return total

    def sequence(self, source: int, name: str) -> ir.Value:
        """The source of every step."""
        if source not in self.sequences:
            value = self._algebra.sources[source].value
            if value is None:
                raise ValueError(f"source {source} has no sequence")
            self.sequences[source] = self.written(value, f"{name}.input")
        return self.sequences[source]

    def operands(self, cell: Cell, name: str) -> list[ir.Value | None]:
        """``x`` and the parameters of a cell; products with the input that stand before the loop join its weights."""
        arrays = dict(cell.parameters)
        weight, bias = arrays["input_weight"].astype(np.float64), arrays["bias"].astype(np.float64)
        parts: dict[ir.Value, Matrix] = {}
        start = 0
        for source in cell.inputs:
            width = self._algebra.sources[source].width
            columns = weight[:, start : start + width]
            start += width
            sequence, matrix, shift = self._projected(self.sequence(source, name), columns)
            parts[sequence] = parts[sequence] + matrix if sequence in parts else matrix
            # FastGRNN has two biases of one product.
            bias = bias + np.tile(shift, bias.size // shift.size)
        arrays["input_weight"] = np.hstack(list(parts.values())).astype(np.float32)
        arrays["bias"] = bias.astype(np.float32)
        x, *others = parts
        if others:
            x = self._node("Concat", [x, *others], f"{name}.inputs", axis=2)
        return [x, *(new_initializer(self._graph, f"{name}.{key}", array) for key, array in arrays.items())]

    def _projected(self, value: ir.Value, matrix: Matrix) -> tuple[ir.Value, Matrix, Matrix]:
        """``matrix value`` as a matrix of what ``value`` is computed from, and a bias.

        Only where ``matrix`` takes features as they are: a product before the loop is then the cell's own. A matrix of the
        cell's on top of a layer of the author's stays two products, because the layer may be narrow on purpose.
        """
        found, swapped = value, False
        shift = np.zeros(matrix.shape[0])
        start, changed, plain = matrix, False, (value, matrix, np.zeros(matrix.shape[0]))
        while _takes_features(start):
            node = found.producer()
            if node is None or not node.inputs or node.inputs[0] is None:
                break
            standard = node.domain == ""
            if standard and node.op_type == "Transpose" and attribute_ints(node, "perm") == _STEPS_BY_SAMPLES:
                found, swapped = node.inputs[0], not swapped
                continue
            operand = constant(node.inputs[1]) if len(node.inputs) > 1 else None
            if standard and node.op_type == "Add":
                pair = _with_constant(node)
                if pair is None or pair[1].size not in {1, start.shape[1]}:
                    break
                shift = shift + start @ np.broadcast_to(pair[1].reshape(-1), (start.shape[1],))
                found = pair[0]
            elif standard and node.op_type == "MatMul" and operand is not None and operand.ndim == 2:  # a matrix
                start, found, changed = start @ operand.T.astype(np.float64), node.inputs[0], True
            elif node.domain == FLOAT_DOMAIN and node.op_type == "Linear" and operand is not None:
                added = constant(node.inputs[2]) if len(node.inputs) > 2 else None  # the bias
                if added is not None:
                    shift = shift + start @ added.astype(np.float64)
                start, found, changed = start @ operand.astype(np.float64), node.inputs[0], True
            elif standard and node.op_type == "Split" and attribute_int(node, "axis", 0) in {2, -1}:
                embedded = _in_whole(node, found, start)
                if embedded is None:
                    break
                start, found = embedded, node.inputs[0]
            else:
                break
        if not changed:
            return plain
        return self._swapped(found) if swapped else found, start, shift

    def _swapped(self, value: ir.Value) -> ir.Value:
        if value not in self._transposed:
            node = insert(self._before, "Transpose", [value], attributes={"perm": _STEPS_BY_SAMPLES})
            self._transposed[value] = node.outputs[0]
        return self._transposed[value]

    def _product(self, value: ir.Value, matrix: Matrix, name: str) -> ir.Value:
        if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(matrix.shape[0])):
            return value
        weight = new_initializer(self._graph, f"{name}.weight", matrix.T.astype(np.float32))
        return self._node("MatMul", [value, weight], name)

    def _activated(self, number: int, name: str) -> ir.Value:
        atom = self._algebra.atoms[number]
        argument = self.written(atom.argument, name)
        if atom.function == "":
            return argument
        node = insert(self._before, atom.function, [argument], name=name)
        for key, value in atom.parameters:
            node.attributes[key] = ir.AttrFloat32(key, value)
        return node.outputs[0]

    def _node(self, kind: str, inputs: Sequence[ir.Value | None], name: str, **attributes: int) -> ir.Value:
        return insert(self._before, kind, inputs, name=name, attributes=attributes).outputs[0]


def _takes_features(matrix: Matrix) -> bool:
    """Whether every row of ``matrix`` is zero or takes one feature."""
    return bool(np.isin(matrix, (0.0, 1.0)).all() and (matrix.sum(axis=1) <= 1.0).all())


def _with_constant(node: ir.Node) -> tuple[ir.Value, Matrix] | None:
    """The two operands of a sum of a value and a vector of constants."""
    for value, added in (node.inputs, tuple(reversed(node.inputs))):
        array = constant(added)
        if value is not None and array is not None and array.size == (array.shape[-1] if array.ndim else 1):
            return value, array.astype(np.float64)
    return None


def _in_whole(node: ir.Node, part: ir.Value, matrix: Matrix) -> Matrix | None:
    """A matrix of one part of a Split as a matrix of the whole."""
    sizes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if sizes is not None:
        each = [int(size) for size in sizes.reshape(-1).tolist()]
    elif shape is not None and isinstance(shape[-1], int):
        size = -(-shape[-1] // len(node.outputs))
        each = [min(size, shape[-1] - at * size) for at in range(len(node.outputs))]
    else:
        return None
    place = next(at for at, output in enumerate(node.outputs) if output is part)
    whole = np.zeros((matrix.shape[0], sum(each)))
    if each[place] != matrix.shape[1]:
        return None
    whole[:, sum(each[:place]) : sum(each[: place + 1])] = matrix
    return whole


def to_rows(before: ir.Node, graph: ir.Graph, value: ir.Value, axes: Sequence[Axis], name: str) -> ir.Value:
    """``value`` as [T, B, width], or [B, width] where it has no steps."""
    units, kept = _units(axes)
    if units:
        places = new_initializer(graph, f"{name}.axes", np.array(units, np.int64))
        value = insert(before, "Squeeze", [value, places]).outputs[0]
    order = _order(kept)
    if order != sorted(order):
        value = insert(before, "Transpose", [value], attributes={"perm": order}).outputs[0]
    leading = sum(isinstance(axis, str) for axis in kept)
    if len(kept) > leading + 1:
        shape = new_initializer(graph, f"{name}.shape", np.array([*[0] * leading, -1], np.int64))
        value = insert(before, "Reshape", [value, shape]).outputs[0]
    return value


def from_rows(before: ir.Node, graph: ir.Graph, value: ir.Value, axes: Sequence[Axis], name: str) -> ir.Value:
    """``value`` [T, B, width] or [B, width] with the axes that ``to_rows`` takes."""
    units, kept = _units(axes)
    leading = sum(isinstance(axis, str) for axis in kept)
    features = [axis for axis in kept if isinstance(axis, int)]
    if len(features) > 1:
        shape = new_initializer(graph, f"{name}.shape", np.array([*[0] * leading, *features], np.int64))
        value = insert(before, "Reshape", [value, shape]).outputs[0]
    order = _order(kept)
    if order != sorted(order):
        back = [order.index(place) for place in range(len(order))]
        value = insert(before, "Transpose", [value], attributes={"perm": back}).outputs[0]
    if units:
        places = new_initializer(graph, f"{name}.axes", np.array(units, np.int64))
        value = insert(before, "Unsqueeze", [value, places]).outputs[0]
    return value


def _units(axes: Sequence[Axis]) -> tuple[list[int], list[Axis]]:
    """Places of axes of one feature, where another axis holds the features, and the axes without them."""
    features = [axis for axis in axes if isinstance(axis, int)]
    spare = len(features) - 1 if all(axis == 1 for axis in features) else features.count(1)
    units = [place for place, axis in enumerate(axes) if axis == 1][:spare]
    return units, [axis for place, axis in enumerate(axes) if place not in units]


def _order(axes: Sequence[Axis]) -> list[int]:
    """The places of steps, samples and features."""
    ranks = {"T": 0, "B": 1}
    return sorted(range(len(axes)), key=lambda place: (ranks.get(str(axes[place]), 2), place))
