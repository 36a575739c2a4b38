"""Recognises by their numbers the matrices of recurrent layers that are made of quaternion components."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN, HAMILTON_ROWS
from .access import constant, insert, new_initializer

__all__ = ["recognise_quaternion_rows"]

_GATES = {"RNN": 1, "LiGRU": 2, "GRU": 3, "GRUResetBefore": 3, "LSTM": 4}

_LAYOUTS: dict[int, tuple[tuple[int, tuple[int, ...]], ...]] = {
    1: ((4, (0,)),),
    # In SpeechBrain, two parts of one product make a gate, in the layer's order.
    2: ((4, (0, 1)), (1, (0, 1))),
    3: ((4, (0, 1, 2)),),
    # Parcollet's gates, each a Hamilton product; SpeechBrain's, each a part of one product, its order i, f, o, g.
    4: ((4, (0, 1, 2, 3)), (1, (0, 1, 3, 2))),
}
"""By number of gates, the parts and the order of ``GateRows`` that a matrix may have."""


def recognise_quaternion_rows(model: ir.Model) -> None:
    """Replaces constant U and W of recurrent layers by ``HamiltonMatrix`` and ``GateRows`` of their components.

    A file from elsewhere has them as plain matrices, however its exporter made them; that every entry stands at four
    places with the right signs, to the last bit, does not happen by chance.

    Requires: the recurrent layers are made. Ensures: nothing where a matrix has no such form, or is zero everywhere.
    """
    for node in list(model.graph):
        if node.domain != FLOAT_DOMAIN or node.op_type not in _GATES:
            continue
        for index, name in ((1, "input"), (2, "recurrent")):
            weight = constant(node.inputs[index])
            if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or not weight.any():
                continue
            for parts, order in _LAYOUTS[_GATES[node.op_type]]:
                components = _components(weight, parts, order)
                if components is not None:
                    _replace(model.graph, node, index, name, components, parts, order)
                    break


def _components(
    weight: NDArray[np.float32], parts: int, order: tuple[int, ...]
) -> tuple[NDArray[np.float32], ...] | None:
    """r, i, j, k of rows that stand in this order, or None."""
    rows, columns = weight.shape
    if columns % 4 or rows % (4 * len(order)):
        return None
    by_gate = weight.reshape(len(order), parts, -1, columns)
    by_part = by_gate[np.argsort(order)].transpose(1, 0, 2, 3)
    blocks = by_part.reshape(4, rows // 4, 4, columns // 4)
    components = {name: blocks[part, :, 0] for part, name in enumerate("rijk")}
    for part, row in enumerate(HAMILTON_ROWS):
        for column, entry in enumerate(row):
            expected = components[entry[-1]]
            if not np.array_equal(blocks[part, :, column], -expected if entry.startswith("-") else expected):
                return None
    return tuple(components.values())


def _replace(
    graph: ir.Graph,
    node: ir.Node,
    index: int,
    name: str,
    components: tuple[NDArray[Any], ...],
    parts: int,
    order: tuple[int, ...],
) -> None:
    prefix = f"{node.name}.{name}"
    values = [
        new_initializer(graph, f"{prefix}_{part}_weight", array) for part, array in zip("rijk", components, strict=True)
    ]
    matrix = insert(
        node,
        "HamiltonMatrix",
        values,
        domain=FLOAT_DOMAIN,
        overload="blocked",
        name=f"{prefix}_matrix",
        attributes={"grouping": "blocked"},
    ).outputs[0]
    if len(order) > 1 and (parts > 1 or order != tuple(range(len(order)))):
        matrix = insert(
            node,
            "GateRows",
            [matrix],
            domain=FLOAT_DOMAIN,
            name=f"{prefix}_rows",
            attributes={"parts": parts, "order": list(order)},
        ).outputs[0]
    node.replace_input_with(index, matrix)
