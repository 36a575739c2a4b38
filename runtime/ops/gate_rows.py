"""GateRows: the rows of stacked gates in a recurrent layer's order."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("GateRows", outputs=("rows",))
def gate_rows(node: Node, weight: IntArray, *, parts: int, order: list[int]) -> tuple[IntArray, ...]:
    """rows[g, p, q] = weight[p, order[g], q]: rows by part, then gate, become rows by gate, the gates in ``order``.

    Args:
        weight: int8 ``[P G n, K]``, as P parts of G gates of n rows each; a convolution's has kernel dimensions behind, and
            its gates are the groups of output quaternions.
        parts: P, at least 1. The Hamilton matrix of stacked gates has the real parts of all gates before their i, j and k
            parts: 4. Where each part of one Hamilton product is a gate: 1.
        order: a permutation of 0 ... G - 1: the gate that comes first, second ...

    Returns:
        int8 of the same shape. It depends on constants only, so runtimes fold it at load.
    """
    if "rows" not in node.cache:
        node.require_dtype("weight", weight, np.int8)
        node.require(weight.ndim >= 2 and weight.size > 0, f"weight has shape {list(weight.shape)}; expected rows.")
        gates = len(order)
        node.require(sorted(order) == list(range(gates)) and gates > 0, f"order is {order}; expected a permutation.")
        node.require(
            parts >= 1 and weight.shape[0] % (parts * gates) == 0,
            f"weight has {weight.shape[0]} rows; expected a multiple of {parts} parts of {gates} gates.",
        )
        blocks = weight.reshape(parts, gates, -1)
        node.cache["rows"] = np.ascontiguousarray(blocks.transpose(1, 0, 2)[order].reshape(weight.shape))
    return (node.cache["rows"],)
