"""Conv: a convolution over one, two or three axes, from integers to integers."""

from __future__ import annotations

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.convolved import convolved
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output
from qdeploy.runtime.ops.rounded import check_reach, require_rule
from qdeploy.runtime.rounding import HALF_UP, requantize


@operator("Conv", outputs=("y",))
def conv(
    node: Node,
    x: IntArray,
    weight: IntArray,
    bias: IntArray,
    multiplier: IntArray,
    *,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    group: int,
    x_zero_point: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
    rounding: str = HALF_UP,
) -> tuple[IntArray, ...]:
    """y[b, n, p] = clip(round(acc[b, n, p] * multiplier[n] / 2^shift) + y_zero_point, low, high).

    acc[b, n, p] = sum_c sum_k W[n, c, k] (x[b, g C/G + c, s p + d k - pads] - x_zero_point) + bias[n]. Output n belongs to
    group g = n // (N/G), which reads the channels g C/G to (g+1) C/G - 1. Outside of the image x is x_zero_point, so that
    it adds nothing. No kernel is flipped.

    Args:
        x: uint8 or int16 ``[B, C, *S]``, one to three axes of an image.
        weight: int8 ``[N, C/G, *K]``, zero point 0.
        bias: int32 ``[N]`` at the accumulator's scale, scale_x * scale_weight.
        multiplier: int32 ``[1]`` or ``[N]``; with ``shift`` it stands for scale_x * scale_weight / scale_y.
        strides, dilations: s and d, one for each axis, at least 1.
        pads: of the beginnings of all axes, then of their ends, at least 0 (ONNX's order).
        group: G, a divisor of C and N.
        x_zero_point: the x that means 0; 0 for int16.
        shift: 0 to 46.
        y_zero_point, low, high: zero point and inclusive bounds of y. ReLU is ``low == y_zero_point``.
        dtype: ONNX element type of y: 2 uint8, 5 int16, 6 int32.
        rounding: as of Linear.

    Returns:
        ``[B, N, *out]``, out = floor((S + both pads - d (K - 1) - 1) / s) + 1 along each axis.

    The accumulator is int32 and exact: |acc| <= max|x - x_zero_point| * sum|W[n]| + |bias[n]| < 2^31.
    The float layers are torch.nn.Conv1d, Conv2d and Conv3d, ONNX Conv.
    """
    require_rule(node, rounding)
    y = convolved(
        node,
        x,
        weight,
        bias,
        multiplier,
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=group,
        x_zero_point=x_zero_point,
        last=lambda accumulator: requantize(accumulator, multiplier, shift, y_zero_point, low, high, rounding=rounding),
    )
    if "reach" not in node.cache:
        check_reach(
            node,
            rounding,
            x=x,
            weight=weight,
            bias=bias,
            multiplier=multiplier,
            x_zero_point=x_zero_point,
            shift=shift,
            dtype=dtype,
        )
        node.cache["reach"] = True
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
