"""How an operator hands over its result: the type that its attribute names, and the count of saturated values."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node

DTYPES: dict[int, type[np.integer]] = {2: np.uint8, 3: np.int8, 5: np.int16, 6: np.int32}
"""ONNX element types (TensorProto.DataType) that activations may have."""


def output_dtype(node: Node, dtype: int, low: int, high: int) -> np.dtype[np.integer]:
    """The NumPy type of ONNX element type ``dtype``, which must hold [low, high]."""
    if dtype not in DTYPES:
        raise ContractError(
            f"node {node.name}: dtype={dtype} is not an activation type; expected one of {sorted(DTYPES)}."
        )
    kind = np.dtype(DTYPES[dtype])
    bounds = np.iinfo(kind)
    if not bounds.min <= low <= high <= bounds.max:
        raise ContractError(f"node {node.name}: bounds {low} to {high} do not fit {kind.name}.")
    return kind


def cast_output(node: Node, values: IntArray, zero_point: int, low: int, high: int, dtype: int) -> IntArray:
    """Casts clipped values and counts those at a bound that the float model does not have.

    A lower bound equal to the zero point is a ReLU and no saturation.
    """
    result = values.astype(output_dtype(node, dtype, low, high))
    count_saturated(node, result, zero_point, low, high)
    return result


def count_saturated(node: Node, values: IntArray, zero_point: int, low: int, high: int) -> None:
    """Adds to ``node.saturated`` how many of ``values`` stand at a clipping bound."""
    node.saturated += int(np.count_nonzero(values == high))
    if low < zero_point:
        node.saturated += int(np.count_nonzero(values == low))
