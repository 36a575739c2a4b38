"""Mul: the element-wise product of two activations, with one rounding; a gate outside a loop."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import MAX_SHIFT, IntArray, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output


@operator("Mul", outputs=("y",))
def mul(
    node: Node,
    a: IntArray,
    b: IntArray,
    *,
    a_zero_point: int,
    b_zero_point: int,
    multiplier: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """y = clip(round((a - a_zp) * (b - b_zp) * multiplier / 2^shift) + y_zp, low, high), half up.

    Args:
        a, b: uint8 or int16, of shapes that broadcast; with its zero point taken off each has at most 16 bits, so that
            the product fits int32 (2^30 at most).
        a_zero_point, b_zero_point, y_zero_point, low, high: zero points and inclusive bounds.
        multiplier: positive, at most 31 bits.
        shift: 0 to 46.
        dtype: ONNX element type of y: 2 uint8, 5 int16.
    """
    node.require_dtype("a", a, np.uint8, np.int16)
    node.require_dtype("b", b, np.uint8, np.int16)
    for name, value, zero_point in (("a", a, a_zero_point), ("b", b, b_zero_point)):
        allowed = range(256) if value.dtype == np.uint8 else (0,)
        node.require(zero_point in allowed, f"{name}_zero_point={zero_point} is none of a {value.dtype} tensor's.")
    node.require(0 < multiplier < 2**31, f"multiplier={multiplier}; expected a positive number of at most 31 bits.")
    node.require(0 <= shift <= MAX_SHIFT, f"shift={shift}; expected 0 to {MAX_SHIFT}.")
    product = (a.astype(np.int64) - a_zero_point) * (b.astype(np.int64) - b_zero_point)
    y = requantize(product, multiplier, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
