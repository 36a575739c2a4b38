"""Recognises by their numbers the weights of layers over quaternions or another algebra, however they were made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..block_algebra import BlockAlgebra, made_of, repeated_blocks
from ..functions import FLOAT_DOMAIN, HAMILTON_ROWS, hypercomplex_overload
from .access import constant, insert, new_initializer

__all__ = ["Parameters", "parameters_of_algebras", "recognise_structured_weights"]

Reals = NDArray[np.float32]

LARGEST_ALGEBRA = 16
"""Of the parameters that are taken for a learned algebra: n^3 numbers that say how n components are multiplied."""


@dataclass(frozen=True)
class Parameters:
    """Parameters of the model that may be a learned algebra ``[n, n, n]`` and its components ``[n, Q, V, *kernel]``."""

    algebras: tuple[Reals, ...]
    components: tuple[Reals, ...]

    def pairs(self) -> Iterable[tuple[Reals, Reals]]:
        """Those of one n."""
        return ((a, s) for a in self.algebras for s in self.components if len(a) == len(s) and a is not s)


def parameters_of_algebras(model: ir.Model, trained: Iterable[Reals]) -> Parameters:
    """Those of ``model``, to be asked before its constants are folded: afterwards they are gone; and those ``trained``."""
    arrays = [*trained, *(constant(value) for value in model.graph.initializers.values())]
    kept = [array for array in arrays if array is not None and array.dtype == np.float32 and array.ndim >= 3]
    cubes = [
        array for array in kept if array.ndim == 3 and 1 < len(array) <= LARGEST_ALGEBRA and len({*array.shape}) == 1
    ]
    sizes = {len(array) for array in cubes}
    return Parameters(tuple(cubes), tuple(array for array in kept if len(array) in sizes))


def recognise_structured_weights(model: ir.Model, parameters: Parameters) -> list[str]:
    """Replaces constant weights of ``Linear`` and ``Conv`` by ``HamiltonMatrix`` or ``HypercomplexMatrix`` of constants.

    A file holds a quaternion layer's matrix in full, and so does a graph after its constants are folded, whatever made
    it: that the same numbers stand at many places with the right signs, to the last bit, does not happen by chance. A
    learned algebra leaves no such trace; its matrix is compared with the parameters that the model had.

    Requires: products are ``Linear``. Ensures: a weight that is replaced by blocks is the same to the last bit, one by a
    learned algebra to
    2^-20 of its sums; nothing where a weight has no such form or is zero everywhere.

    Returns:
        A note for every layer whose weight was recognised.
    """
    notes = []
    for node in list(model.graph):
        if (node.domain, node.op_type) not in {(FLOAT_DOMAIN, "Linear"), ("", "Conv")}:
            continue
        value = node.inputs[1]
        weight = constant(value)
        if value is None or weight is None or weight.dtype != np.float32 or weight.ndim < 2 or not weight.any():
            continue
        found = repeated_blocks(weight)
        if found is not None:
            matrix, what = _copied(model.graph, node, found)
            notes.append(f"{node.name}: the weight repeats {what}, to the last bit: it is stored as these")
        else:
            found = next(filter(None, (made_of(weight, a, s) for a, s in parameters.pairs())), None)
            if found is None:
                continue
            matrix = _hypercomplex(model.graph, node, found)
            notes.append(
                f"{node.name}: the weight is the sum of {len(found.a)} Kronecker products of parameters of the model: it is "
                "stored as these"
            )
        matrix.type, matrix.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(weight.shape)
        node.replace_input_with(1, matrix)
    return notes


def _copied(graph: ir.Graph, node: ir.Node, found: BlockAlgebra) -> tuple[ir.Value, str]:
    """The matrix of blocks, and what they are."""
    rows, columns = found.s.shape[1:3]
    if found.output_grouping == "blocked" and np.array_equal(found.a, _hamilton()):
        values = [
            new_initializer(graph, f"{node.name}.{part}_weight", array)
            for part, array in zip("rijk", found.s, strict=True)
        ]
        matrix = insert(
            node,
            "HamiltonMatrix",
            values,
            domain=FLOAT_DOMAIN,
            overload=found.grouping,
            name=f"{node.name}.matrix",
            attributes={"grouping": found.grouping},
        )
        return matrix.outputs[0], f"the components of {rows} x {columns} quaternions"
    size = found.a.shape[1]
    return _hypercomplex(graph, node, found), (
        f"{len(found.s)} blocks of {rows} x {columns} at the {size} x {size} places of its blocks"
    )


def _hypercomplex(graph: ir.Graph, node: ir.Node, found: BlockAlgebra) -> ir.Value:
    values = [new_initializer(graph, f"{node.name}.{name}", array) for name, array in (("a", found.a), ("s", found.s))]
    orders = {"grouping": found.grouping, "output_grouping": found.output_grouping}
    return insert(
        node,
        "HypercomplexMatrix",
        values,
        domain=FLOAT_DOMAIN,
        overload=hypercomplex_overload(**orders),
        name=f"{node.name}.matrix",
        attributes=orders,
    ).outputs[0]


def _hamilton() -> Reals:
    """The signs of r, i, j and k in L(w)."""
    signs = np.zeros((4, 4, 4), np.float32)
    for row, entries in enumerate(HAMILTON_ROWS):
        for column, entry in enumerate(entries):
            signs["rijk".index(entry[-1]), row, column] = -1 if entry.startswith("-") else 1
    return signs
