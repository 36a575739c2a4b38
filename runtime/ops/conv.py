"""Conv: a convolution over one, two or three axes, from integers to integers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import (
    IntArray,
    check_int32,
    exact_matmul,
    product_bound,
    product_type,
    requantize,
)
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output
from qdeploy.runtime.ops.windows import check_windows, padded, windows

WINDOW_NUMBERS = 1 << 24
"""As many numbers of windows are held at a time: 64 MB in single precision."""


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

    Returns:
        ``[B, N, *out]``, out = floor((S + both pads - d (K - 1) - 1) / s) + 1 along each axis.

    The accumulator is int32 and exact: |acc| <= max|x - x_zero_point| * sum|W[n]| + |bias[n]| < 2^31.
    The float layers are torch.nn.Conv1d, Conv2d and Conv3d, ONNX Conv.
    """
    if "weight" not in node.cache:
        node.require_dtype("weight", weight, np.int8)
        node.require(
            3 <= weight.ndim <= 5 and weight.size > 0,
            f"weight has shape {list(weight.shape)}; expected [N, C / group] and one to three axes of a kernel.",
        )
        outputs = weight.shape[0]
        node.require(
            group >= 1 and outputs % group == 0, f"group is {group}; expected a divisor of the {outputs} outputs."
        )
        node.require_dtype("bias", bias, np.int32)
        node.require_shape("bias", bias, outputs)
        node.require_dtype("multiplier", multiplier, np.int32)
        node.require(multiplier.shape in ((1,), (outputs,)), f"multiplier has shape {list(multiplier.shape)}.")
        rows = weight.reshape(outputs, -1)
        bound = product_bound(rows, 255 if x.dtype == np.uint8 else 2**15)
        columns = rows.reshape(group, outputs // group, -1).transpose(0, 2, 1)
        node.cache["bound"] = bound
        node.cache["weight"] = np.ascontiguousarray(columns, product_type(bound))
        node.cache["proven"] = bound + int(np.abs(bias.astype(np.int64)).max()) < 2**31
    node.require_dtype("x", x, np.uint8, np.int16)
    kernel = weight.shape[2:]
    out = check_windows(node, x, kernel, strides, pads, dilations)
    node.require(
        x.shape[1] == weight.shape[1] * group,
        f"x has {x.shape[1]} channels; expected {weight.shape[1]} for each of {group} groups.",
    )
    y = np.empty((x.shape[0], weight.shape[0], *out), np.int64)
    # As many samples at a time as memory allows: a window repeats each number of the image.
    step = max(1, WINDOW_NUMBERS // (x.shape[1] * math.prod(kernel) * math.prod(out)))
    for start in range(0, len(x), step):
        centred = x[start : start + step].astype(product_type(node.cache["bound"])) - x_zero_point
        view = windows(padded(centred, pads, 0), kernel, strides, dilations)
        accumulator = _products(node, view, len(kernel)) + bias
        if not node.cache["proven"]:
            check_int32(accumulator, f"node {node.name}")
        last = requantize(accumulator, multiplier, shift, y_zero_point, low, high)
        y[start : start + step] = np.moveaxis(last, -1, 1)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)


def _products(node: Node, view: NDArray[np.generic], rank: int) -> NDArray[np.int64]:
    """Accumulators ``[B, *out, N]`` from windows ``[B, C, *out, *kernel]``."""
    columns = node.cache["weight"]  # [G, C/G * K, N/G]
    samples, channels, *rest = view.shape
    out, kernel = rest[:rank], rest[rank:]
    parts = view.reshape(samples, len(columns), channels // len(columns), *out, *kernel)
    # [G, B, *out, C/G, *kernel]: the numbers that one output reads side by side.
    places = (1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    rows = parts.transpose(places).reshape(len(columns), -1, columns.shape[1])
    products = [exact_matmul(group, matrix, node.cache["bound"]) for group, matrix in zip(rows, columns, strict=True)]
    joined = products[0] if len(products) == 1 else np.concatenate(products, axis=-1)
    return joined.reshape(samples, *out, -1)
