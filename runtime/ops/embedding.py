"""Embedding: rows of a table by their indices, as activations."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import output_dtype

_NO_BOUND = 2**62


@operator("Embedding", outputs=("y",))
def embedding(
    node: Node,
    indices: IntArray,
    weight: IntArray,
    multiplier: IntArray,
    *,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """y = clip(round(weight[i] * multiplier / 2^shift) + y_zero_point, low, high), i = indices.

    Args:
        indices: int32 or int64, any shape, each in [0, V - 1].
        weight: int8 ``[V, D]``, zero point 0.
        multiplier: int32 ``[1]`` or ``[V]``; with ``shift`` it stands for scale_weight / scale_y. 1 and a shift of 0 hand the
            table on as it is, but for the zero point.
        shift: 0 to 46.
        y_zero_point, low, high: zero point and inclusive bounds of y.
        dtype: ONNX element type of y: 2 uint8, 5 int16.

    Returns:
        y ``[..., D]``, of the indices' shape with D behind it.

    The requantization depends on constants only: bodies do it for the whole table, so that runtimes fold it when they load
    the model and one Gather is left. An index outside the table is an error here and in sessions, which refuse it before
    anything runs; a body's Gather refuses V and more as well, but ONNX counts negative ones from the table's end.

    The float layer is torch.nn.Embedding, ONNX Gather of a constant on axis 0.
    """
    if "table" not in node.cache:
        node.require_dtype("weight", weight, np.int8)
        node.require_shape("weight", weight, None, None)
        node.require_dtype("multiplier", multiplier, np.int32)
        rows = weight.shape[0]
        node.require(multiplier.shape in ((1,), (rows,)), f"multiplier has shape {list(multiplier.shape)}.")
        factors = multiplier[:, None]
        free = requantize(weight.astype(np.int64), factors, shift, y_zero_point, -_NO_BOUND, _NO_BOUND)
        table = np.clip(free, low, high)
        node.cache["table"] = table.astype(output_dtype(node, dtype, low, high))
        node.cache["clipped"] = (free != table).sum(axis=1)
    node.require_dtype("indices", indices, np.int32, np.int64)
    node.require(indices.size > 0, f"indices has shape {list(indices.shape)}; expected one index at least.")
    table = node.cache["table"]
    outside = (indices < 0) | (indices >= len(table))
    if outside.any():
        place = [int(axis[0]) for axis in outside.nonzero()]
        found = int(indices[outside][0])
        node.require(
            False, f"index {found} at {place}; expected 0 to {len(table) - 1}, the table has {len(table)} rows."
        )
    node.saturated += int(node.cache["clipped"][indices].sum())
    return (table[indices],)
