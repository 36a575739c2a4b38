"""How far a recurrent layer's 32-bit accumulator can reach: the one proof that exporter, bodies and reference share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray

INT32_REACH = 2**31
"""An accumulator is proven where its reach is less."""


def recurrent_reach(
    *,
    recurrent_weight: IntArray,
    input_weight: IntArray,
    bias: IntArray,
    state: int,
    x: int,
    recurrent_shift: int,
    input_shift: int,
    input_multiplier: IntArray | None = None,
    modrelu_bias: IntArray | None = None,
) -> NDArray[np.object_]:
    """A bound of |accumulator| for every input, state and step, of each unit of the operator ``RNN``.

    The accumulator is (W (h - z_h)) 2^recurrent_shift + u + bias, with u = (U (x - z_x)) 2^input_shift, or U (x - z_x)
    requantized by ``input_multiplier`` / 2^input_shift, a product that must fit 32 bits by itself. modReLU adds its bias
    to the absolute value. Every term counts with its absolute value, so that partial sums and any order are covered.

    Args:
        recurrent_weight: ``[H, H]``, W.
        input_weight: ``[H, I]``, U.
        bias: ``[H]``.
        state: the largest |h - z_h|.
        x: the largest |x - z_x|.
        recurrent_shift, input_shift: the contract's.
        input_multiplier: ``[1]`` or ``[H]``, or None.
        modrelu_bias: ``[H]``, or None.

    Returns:
        Python integers ``[H]``: shifts of 30 on weights of 16384 columns leave 64 bits.
    """
    recurrent = _row_sums(recurrent_weight) * state * 2**recurrent_shift
    product = _row_sums(input_weight) * x
    if input_multiplier is None:
        driven = product * 2**input_shift
    else:
        # The rounding adds at most one; what does not fit int32 is clipped to it.
        scaled = product * np.abs(input_multiplier.astype(np.int64)).astype(object) // 2**input_shift + 1
        driven = np.minimum(scaled, INT32_REACH)
    total = recurrent + driven + _magnitude(bias)
    if modrelu_bias is not None:
        total = total + _magnitude(modrelu_bias)
    reach: NDArray[np.object_] = np.maximum(total, product)
    return reach


def product_reach(weight: IntArray, largest: int) -> NDArray[np.object_]:
    """A bound of |weight v| of each row, for vectors of entries up to ``largest``; Python integers ``[N]``."""
    reach: NDArray[np.object_] = _row_sums(weight) * largest
    return reach


def _row_sums(weight: IntArray) -> NDArray[np.object_]:
    sums: NDArray[np.object_] = np.abs(weight.astype(np.int64)).sum(axis=1).astype(object)
    return sums


def _magnitude(values: IntArray) -> NDArray[np.object_]:
    return np.abs(values.astype(np.int64)).astype(object)


def gru_reach(
    *,
    recurrent_weight: IntArray,
    input_weight: IntArray,
    bias: IntArray,
    recurrent_bias: IntArray,
    state: int,
    x: int,
    input_multiplier: IntArray,
    input_shift: int,
    drive_limit: int,
) -> NDArray[np.object_]:
    """A bound of every accumulator of the operator ``GRU`` (U x + b, and the sums before both requantizations).

    Args:
        recurrent_weight: ``[3H, H]``, W, rows of r, z and n.
        input_weight: ``[3H, I]``, U.
        bias: ``[3H]``.
        recurrent_bias: ``[H]``, of n.
        state: the largest |h - z_h|.
        x: the largest |x - z_x|.
        input_multiplier, input_shift: what U x + b is requantized by.
        drive_limit: what the result is clipped to.

    Returns:
        Python integers ``[3H]``.
    """
    product = _row_sums(input_weight) * x + _magnitude(bias)
    scaled = product * np.abs(input_multiplier.astype(np.int64)).astype(object) // 2**input_shift + 1
    gates = len(bias) - len(recurrent_bias)
    beside = np.concatenate([np.minimum(scaled, drive_limit)[:gates], _magnitude(recurrent_bias)])
    reach: NDArray[np.object_] = np.maximum(_row_sums(recurrent_weight) * state + beside, product)
    return reach
