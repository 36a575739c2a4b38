"""Add: the sum of two activations of different scales, with one rounding."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output


@operator("Add", outputs=("y",))
def add(
    node: Node,
    a: IntArray,
    b: IntArray,
    *,
    a_zero_point: int,
    b_zero_point: int,
    a_multiplier: int,
    b_multiplier: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """y = clip(round(((a - a_zp) * a_multiplier + (b - b_zp) * b_multiplier) / 2^shift) + y_zp, low, high), half up.

    Args:
        a, b: uint8 or int16, of shapes that broadcast.
        a_multiplier, b_multiplier: at most 15 bits, so that the sum fits int32; they share ``shift``.
        a_zero_point, b_zero_point, y_zero_point, low, high: zero points and inclusive bounds.
        shift: 0 to 46.
        dtype: ONNX element type of y: 2 uint8, 5 int16.
    """
    node.require_dtype("a", a, np.uint8, np.int16)
    node.require_dtype("b", b, np.uint8, np.int16)
    total = (a.astype(np.int64) - a_zero_point) * a_multiplier + (b.astype(np.int64) - b_zero_point) * b_multiplier
    y = requantize(total, 1, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
