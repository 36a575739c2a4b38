"""ChannelAffine: one factor and one constant for each channel, with one rounding; batch normalization that stands alone."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.channels import channel_axis
from qdeploy.runtime.numeric import IntArray, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output


@operator("ChannelAffine", outputs=("y",))
def channel_affine(
    node: Node,
    x: IntArray,
    multiplier: IntArray,
    addend: IntArray,
    *,
    x_zero_point: int,
    trailing: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """y = clip(floor(((x - x_zero_point) * multiplier + addend + 2^(shift-1)) / 2^shift) + y_zero_point, low, high).

    The constant is added behind the multiplication, in steps of y / 2^shift, so that one rounding serves both.

    Args:
        x: uint8 or int16 ``[..., C, *S]`` with ``trailing`` axes S: a batch of images has two, a sequence ``[T, B, C]`` none.
        multiplier: int32 ``[C]``, of any sign.
        addend: int32 ``[C]``.
        x_zero_point: the x that means 0; 0 for int16.
        trailing: 0 to 3.
        shift: 0 to 46; with 0 nothing is added before it.
        y_zero_point, low, high: zero point and inclusive bounds of y; a ReLU behind it is ``low == y_zero_point``.
        dtype: ONNX element type of y: 2 uint8, 5 int16, 6 int32.

    The product has 64 bits: |x - x_zero_point| < 2^16, |multiplier| < 2^31. The float layer is torch.nn.BatchNorm1d, 2d and 3d in
    evaluation, ONNX BatchNormalization.
    """
    axis = channel_axis(node, x, x_zero_point, trailing, shift)
    channels = x.shape[axis]
    for name, value in (("multiplier", multiplier), ("addend", addend)):
        node.require_dtype(name, value, np.int32)
        node.require_shape(name, value, channels)
    behind = (channels, *[1] * trailing)
    total = (x.astype(np.int64) - x_zero_point) * multiplier.astype(np.int64).reshape(behind)
    total += addend.reshape(behind)
    y = requantize(total, 1, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
