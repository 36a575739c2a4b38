"""Recognises by their numbers the weights of layers over quaternions or another algebra, however they were made."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..block_algebra import BlockAlgebra, learned_blocks, repeated_blocks
from ..functions import FLOAT_DOMAIN, HAMILTON_ROWS, hypercomplex_overload
from .access import constant, insert, new_initializer
from .quaternion_kernels import insert_hamilton

__all__ = ["recognise_structured_weights"]

Reals = NDArray[np.float32]


def recognise_structured_weights(model: ir.Model) -> list[str]:
    """Replaces constant weights of ``Linear`` and ``Conv`` by ``HamiltonMatrix`` or ``HypercomplexMatrix`` of constants.

    A file holds a quaternion layer's matrix in full, and so does a graph after its constants are folded, whatever made
    it: that the same numbers stand at many places with the right signs, to the last bit, does not happen by chance. A
    learned algebra leaves a matrix whose blocks are sums of fewer.

    Requires: products are ``Linear``. Ensures: a weight that is replaced by blocks is the same to the last bit, one by a
    learned algebra to
    2^-20 of its largest number; nothing where a weight has no such form or is zero everywhere.

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
            matrix, note = _copied(model.graph, node, found)
            notes.append(note)
        else:
            found = learned_blocks(weight)
            if found is None:
                continue
            matrix = _hypercomplex(model.graph, node, found)
            notes.append(
                f"{node.name}: the weight is a sum of {len(found.a)} Kronecker products, to 2^-20 of its largest number: it "
                "is stored as their factors"
            )
        matrix.type, matrix.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(weight.shape)
        node.replace_input_with(1, matrix)
    return notes


def _copied(graph: ir.Graph, node: ir.Node, found: BlockAlgebra) -> tuple[ir.Value, str]:
    """The matrix of blocks, and a note of them."""
    if found.output_grouping == "blocked" and np.array_equal(found.a, _hamilton()):
        return insert_hamilton(node, tuple(found.s), grouping=found.grouping)
    rows, columns = found.s.shape[1:3]
    size = found.a.shape[1]
    note = (
        f"{node.name}: the weight repeats {len(found.s)} blocks of {rows} x {columns} at its {size} x {size} places, to "
        "the last bit: it is stored as these"
    )
    return _hypercomplex(graph, node, found), note


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
