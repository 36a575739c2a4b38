"""AveragePool: the mean of each window of an image, with one rounding."""

from __future__ import annotations

import math

import numpy as np

from qdeploy.runtime.numeric import IntArray, check_int32, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output
from qdeploy.runtime.ops.windows import check_windows, padded, taps


@operator("AveragePool", outputs=("y",))
def average_pool(
    node: Node,
    x: IntArray,
    multipliers: IntArray,
    *,
    kernel: list[int],
    strides: list[int],
    pads: list[int],
    counted: list[int],
    x_zero_point: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """y[b, c, p] = clip(round(sum over k of (x[b, c, s p + k - pads] - x_zero_point) * M / 2^shift) + y_zero_point, low, high).

    Half up. M, which holds the division by the number of places, is ``multipliers[0]`` where there is one, and otherwise
    that of the window's number n of counted places, ``multipliers[n - 1]``: of its places in the image and in the part of
    the padding that ``counted`` says. Outside of the image x is x_zero_point, so that it adds nothing.

    Args:
        x: uint8 or int16 ``[B, C, *S]``, one to three axes of an image.
        multipliers: int32 ``[1]`` or one for each number of places, ``[product of kernel]``.
        kernel, strides: the window's size and s, one number an axis, at least 1.
        pads: of the beginnings of all axes, then of their ends (ONNX's order).
        counted: how much of each of ``pads`` counts as places; every window has a counted place.
        x_zero_point: the x that means 0; 0 for int16.
        shift: 0 to 46.
        y_zero_point, low, high: zero point and inclusive bounds of y.
        dtype: ONNX element type of y: 2 uint8, 5 int16.

    Returns:
        ``[B, C, *out]``, out = floor((S + both pads - kernel) / s) + 1 along each axis.

    The sum is int32 and exact: its magnitude is at most max|x - x_zero_point| times the places of a window < 2^31.
    The float layers are torch.nn.AvgPool1d, AvgPool2d and AvgPool3d, ONNX AveragePool; ``ceil_mode`` is larger pads at the
    end, of which nothing more is counted.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require_dtype("multipliers", multipliers, np.int32)
    dilations = [1] * len(kernel)
    out = check_windows(node, x, kernel, strides, pads, dilations)
    places = math.prod(kernel)
    node.require(
        multipliers.shape in ((1,), (places,)),
        f"multipliers has shape {list(multipliers.shape)}; expected [1] or [{places}], one for each number of places.",
    )
    node.require(
        len(counted) == len(pads) and all(0 <= part <= pad for part, pad in zip(counted, pads, strict=True)),
        f"counted is {counted}; expected no more than the pads {pads}.",
    )
    centred = padded(x.astype(np.int32) - np.int32(x_zero_point), pads, 0)
    total = np.zeros((*x.shape[:2], *out), np.int64)
    for tap in taps(centred, kernel, strides, dilations):
        total += tap
    check_int32(total, f"node {node.name}")
    factors: IntArray = multipliers
    if multipliers.size > 1:
        ones = padded(np.ones((1, 1, *x.shape[2:]), np.int64), counted, 1)
        rest = [pad - part for pad, part in zip(pads, counted, strict=True)]
        counts = sum(taps(padded(ones, rest, 0), kernel, strides, dilations), np.int64(0))
        node.require(bool(np.all(counts > 0)), f"pads {pads} leave a window of {kernel} without a counted place.")
        factors = multipliers[counts - 1]
    y = requantize(total, factors, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
