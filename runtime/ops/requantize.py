"""Requantize: the same values at another scale."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.numeric import requantize as requantized
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output


@operator("Requantize", outputs=("y",))
def requantize(
    node: Node,
    x: IntArray,
    multiplier: IntArray,
    *,
    x_zero_point: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """y = clip(round((x - x_zero_point) * multiplier / 2^shift) + y_zero_point, low, high), half up.

    Args:
        x: uint8, int16 or int32 ``[..., N]``.
        multiplier: int32 ``[1]`` or ``[N]``.
        x_zero_point, y_zero_point, low, high: zero points and inclusive bounds.
        shift: 0 to 46.
        dtype: ONNX element type of y: 2 uint8, 5 int16, 6 int32.
    """
    node.require_dtype("x", x, np.uint8, np.int16, np.int32)
    node.require_dtype("multiplier", multiplier, np.int32)
    node.require(multiplier.shape in ((1,), x.shape[-1:]), f"multiplier has shape {list(multiplier.shape)}.")
    y = requantized(x.astype(np.int64) - x_zero_point, multiplier, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
