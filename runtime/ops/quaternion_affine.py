"""QuaternionAffine: a 4 x 4 matrix and a constant for each quaternion channel, with one rounding; whitening normalization."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.channels import channel_axis
from qdeploy.runtime.numeric import IntArray, check_int32, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output

MATRIX_REACH = 2**14
"""Entries of a matrix stay below it, so that a row of four products of int16 has room in int32."""


@operator("QuaternionAffine", outputs=("y",))
def quaternion_affine(
    node: Node,
    x: IntArray,
    matrix: IntArray,
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
    """y = clip(floor((M (x - x_zero_point) + addend + 2^(shift-1)) / 2^shift) + y_zero_point, low, high), for each quaternion.

    Channels are blocked [r...|i...|j...|k...]: channel ``d C + q`` holds component d of quaternion q, and
    ``y_c = sum over d of matrix[q, c, d] x_d``.

    Args:
        x: uint8 or int16 ``[..., 4C, *S]`` with ``trailing`` axes S.
        matrix: int16 ``[C, 4, 4]``, |entry| < 2^14.
        addend: int32 ``[4, C]``, in steps of y / 2^shift.
        x_zero_point: the x that means 0; 0 for int16.
        trailing: 0 to 3.
        shift: 0 to 46; with 0 nothing is added before it.
        y_zero_point, low, high: zero point and inclusive bounds of y; a ReLU behind it is ``low == y_zero_point``.
        dtype: ONNX element type of y: 2 uint8, 5 int16, 6 int32.

    The accumulator is int32 and exact: sum over d of |matrix| max|x - x_zero_point| + |addend| < 2^31. The float layer is
    ``QuaternionWhiteningBatchNorm`` in evaluation. Source: Gaudet and Maida, arXiv 1712.04604, section 3.5.
    """
    axis = channel_axis(node, x, x_zero_point, trailing, shift)
    channels = x.shape[axis]
    node.require(channels % 4 == 0, f"x has {channels} channels; expected a multiple of 4.")
    node.require_dtype("matrix", matrix, np.int16)
    node.require_shape("matrix", matrix, channels // 4, 4, 4)
    node.require_dtype("addend", addend, np.int32)
    node.require_shape("addend", addend, 4, channels // 4)
    node.require(
        int(np.abs(matrix.astype(np.int32)).max()) < MATRIX_REACH, f"matrix has entries of {MATRIX_REACH} or more."
    )
    # [..., 4, C, S]: all axes behind the channels as one.
    centred = (x.astype(np.int64) - x_zero_point).reshape(*x.shape[:axis], 4, channels // 4, -1)
    total = np.einsum("qcd,...dqs->...cqs", matrix.astype(np.int64), centred)
    total += addend[:, :, None]
    check_int32(total, f"node {node.name}")
    y = requantize(total.reshape(x.shape), 1, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
