"""QLinearConv: a convolution whose requantization is that of the standard operator of this name; not integer-only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import FLOAT32_EXACT, IntArray, odd_part, requantize_half_even
from qdeploy.runtime.ops.convolved import convolved
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output

ROUNDING = "half_even"
"""What single precision does with an exact product: the only rule that the operator has."""


@operator("QLinearConv", outputs=("y",))
def qlinear_conv(
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
    rounding: str,
) -> tuple[IntArray, ...]:
    """y[b, n, p] = clip(rint(acc[b, n, p] * multiplier[n] / 2^shift) + y_zero_point, low, high), ties to even.

    acc is that of Conv. The standard QLinearConv computes float32(acc) * (float32(multiplier) / 2^shift) and rounds it to the
    nearest integer, ties to even. Where acc and its product with the multiplier's odd part stay below 2^24, both steps are
    exact, and so is this contract in integers.

    Args:
        x: uint8 ``[B, C, *S]``, one to three axes of an image.
        weight: int8 ``[N, C/G, *K]``, zero point 0. Any two of an output's weights, times 255, fit int16: x86 processors without
            VNNI add pairs of products there.
        bias: as of Conv.
        multiplier: int32 ``[1]`` or ``[N]``, positive; powers of two, or few bits times one.
        strides, pads, dilations, group, x_zero_point: as of Conv.
        shift: 0 to 46.
        y_zero_point, low, high: zero point and inclusive bounds of y, 0 to 255.
        dtype: 2, uint8.
        rounding: ``half_even``.

    Returns:
        uint8 ``[B, N, *out]``.

    acc * odd part of multiplier is below 2^24, whatever bytes x has (``accumulator_reach``).
    The float layers are torch.nn.Conv1d, Conv2d and Conv3d, ONNX Conv.
    """
    node.require(rounding == ROUNDING, f"rounding is {rounding!r}; expected {ROUNDING!r}.")
    node.require_dtype("x", x, np.uint8)
    node.require(dtype == 2, f"dtype={dtype}; expected 2, uint8, which is what a standard QLinearConv gives.")
    node.require_dtype("weight", weight, np.int8)
    node.require_dtype("multiplier", multiplier, np.int32)
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
        last=lambda accumulator: requantize_half_even(accumulator, multiplier, shift, y_zero_point, low, high),
    )
    if "exact" not in node.cache:
        found = single_precision_reach(weight, bias, multiplier, x_zero_point)
        node.require(
            0 < found < FLOAT32_EXACT,
            f"accumulator times multiplier could reach {found}; expected positive multipliers and less than 2^24, which single "
            "precision holds.",
        )
        node.require(
            pairs_fit_16_bits(weight),
            "two weights of an output, times 255, leave 16 bits, where processors differ; expected weights within +-64.",
        )
        node.cache["exact"] = True
    return (cast_output(node, y, y_zero_point, low, high, dtype),)


def accumulator_reach(weight: IntArray, bias: IntArray, x_zero_point: int) -> NDArray[np.int64]:
    """The largest |W (x - x_zero_point) + bias| over all bytes x, of each output ``[N]``; exact, with the weights' signs.

    Args:
        weight: ``[N, ...]``.
        bias: ``[N]``.
        x_zero_point: of x, 0 to 255.
    """
    rows = weight.astype(np.int64).reshape(len(weight), -1)
    raising, lowering = np.maximum(rows, 0).sum(axis=1), -np.minimum(rows, 0).sum(axis=1)
    above, below = 255 - x_zero_point, x_zero_point
    highest = raising * above + lowering * below + bias
    lowest = bias - raising * below - lowering * above
    reach: NDArray[np.int64] = np.maximum(np.abs(highest), np.abs(lowest))
    return reach


def single_precision_reach(weight: IntArray, bias: IntArray, multiplier: IntArray, x_zero_point: int) -> int:
    """The largest |acc| times the odd part of its multiplier, 0 where a multiplier is not positive.

    Args:
        weight: ``[N, ...]``.
        bias: ``[N]``.
        multiplier: ``[1]`` or ``[N]``.
        x_zero_point: of x, whose bytes may be any.
    """
    if multiplier.min() < 1:
        return 0
    reach = accumulator_reach(weight, bias, x_zero_point)
    # Two numbers below 2^31 and 2^31: their product fits int64.
    return max(1, int((reach * odd_part(multiplier)).max()))


def pairs_fit_16_bits(weight: IntArray) -> bool:
    """Whether any two products of one output's weights with bytes fit int16 together, in whatever order a kernel pairs them.

    The two largest weights of an output sum to at most 32767 / 255 and the two smallest to at least -32768 / 255.
    """
    rows = np.sort(weight.astype(np.int64).reshape(len(weight), -1), axis=1)
    two = min(2, rows.shape[1])
    highest = np.maximum(rows[:, -two:], 0).sum(axis=1).max()
    lowest = np.minimum(rows[:, :two], 0).sum(axis=1).min()
    return bool(highest * 255 <= 2**15 - 1 and lowest * 255 >= -(2**15) and rows.min() > -128)
