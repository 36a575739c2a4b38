"""GlobalAveragePool: the mean of each channel over its whole image, with one rounding."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray, check_int32, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output


@operator("GlobalAveragePool", outputs=("y",))
def global_average_pool(
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
    """y[b, c] = clip(round(sum over places of (x[b, c, place] - x_zero_point) * multiplier / 2^shift) + y_zero_point, low, high).

    Half up; the multiplier holds the division by the number of places.

    Args:
        x: uint8 or int16 ``[B, C, *S]``, one axis of an image or more.
        multiplier: int32 ``[1]``.
        x_zero_point: the x that means 0; 0 for int16.
        shift: 0 to 46.
        y_zero_point, low, high: zero point and inclusive bounds of y.
        dtype: ONNX element type of y: 2 uint8, 5 int16.

    Returns:
        ``[B, C, 1, ...]``, of the rank of x.

    The sum is int32 and exact: its magnitude is at most max|x - x_zero_point| times the number of places < 2^31.
    The float layers are torch.nn.AdaptiveAvgPool1d to 3d with one place, a mean over all axes of the image, ONNX
    GlobalAveragePool.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require_dtype("multiplier", multiplier, np.int32)
    node.require_shape("multiplier", multiplier, 1)
    node.require(x.ndim > 2 and x.size > 0, f"x has shape {list(x.shape)}; expected [B, C] and the axes of an image.")
    places = x.size // (x.shape[0] * x.shape[1])
    axes = tuple(range(2, x.ndim))
    total = x.sum(axis=axes, dtype=np.int64, keepdims=True) - places * x_zero_point
    check_int32(total, f"node {node.name}")
    y = requantize(total, multiplier, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
