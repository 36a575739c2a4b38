"""Logistic function and hyperbolic tangent of 16-bit integers as gemmlowp computes them: in integers alone, to the bit.

LiteRT's integer LSTM takes its gates from these two. A number of n integer bits is raw / 2^(15 - n); results have none
(Q0.15). Every product is a saturating rounding doubling high multiply, so that the results are the same on every processor.

Source: gemmlowp, ``fixedpoint/fixedpoint.h`` (``logistic``, ``tanh``, ``exp_on_negative_values``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray

__all__ = [
    "EXPONENTIALS",
    "EXP_OF_EIGHTH",
    "LOGISTIC_INTEGER_BITS",
    "MAX_INTEGER_BITS",
    "NEWTON_SLOPE",
    "NEWTON_START",
    "NEWTON_STEPS",
    "ONE",
    "THIRD",
    "logistic",
    "tanh",
]

MAX_INTEGER_BITS = 6
"""LiteRT has tanh for 0 to 6 integer bits."""

LOGISTIC_INTEGER_BITS = 3

ONE = 2**15 - 1
"""1 in Q0.15, saturated."""

EXPONENTIALS = {-2: 25520, -1: 19875, 0: 12055, 1: 4435, 2: 600, 3: 11, 4: 0}
"""exp(-2^k) in Q0.15, by k."""

EXP_OF_EIGHTH, THIRD = 28918, 10923
"""exp(-1/8) and 1/3 in Q0.15."""

NEWTON_START, NEWTON_SLOPE = 23130, -15420
"""48/17 and -32/17 with two integer bits: where Newton's division begins."""

NEWTON_STEPS = 3

Wide = NDArray[np.int64]


def logistic(x: IntArray) -> NDArray[np.int16]:
    """1 / (1 + exp(-x)) in Q0.15 of int16 ``x`` with three integer bits; any shape."""
    raw = x.astype(np.int64)
    of_positive = _saturated(_reciprocal(_exp_of_negative(-np.abs(raw), LOGISTIC_INTEGER_BITS)) * 2)
    result = np.where(raw > 0, of_positive, ONE - of_positive)
    return np.where(raw == 0, 2**14, result).astype(np.int16)


def tanh(x: IntArray, integer_bits: int) -> NDArray[np.int16]:
    """Hyperbolic tangent in Q0.15.

    Args:
        x: int16, any shape.
        integer_bits: of ``x``, 0 to 6.
    """
    raw = x.astype(np.int64)
    # exp(-2 |x|): the same integers with one integer bit more are twice as much.
    ratio = _exp_of_negative(-np.abs(raw), integer_bits + 1)
    of_positive = _saturated((_reciprocal(ratio) - 2**13) * 4)
    return np.where(raw == 0, 0, np.where(raw < 0, -of_positive, of_positive)).astype(np.int16)


def _product(a: Wide | int, b: Wide | int) -> Wide:
    """Of two 16-bit numbers, in Q0.15: a b / 2^15 rounded half up, saturated (only -1 * -1 is)."""
    rounded = np.multiply(a, b, dtype=np.int64) + 2**14 >> 15
    saturated: Wide = np.minimum(rounded, ONE)
    return saturated


def _half_away(x: Wide, bits: int) -> Wide:
    """x / 2^bits, ties away from zero."""
    quotient: Wide = x + 2 ** (bits - 1) - (x < 0) >> bits
    return quotient


def _saturated(x: Wide) -> Wide:
    """Within int16."""
    return np.clip(x, -(2**15), ONE)


def _exp_of_eighths(x: Wide) -> Wide:
    """exp(x) in Q0.15 for x in Q0.15, -1/4 <= x < 0: four terms of the series around -1/8."""
    away = x + 2**12
    square = _product(away, away)
    cube, fourth = _product(square, away), _product(square, square)
    terms = _product(_half_away(fourth, 2) + cube, THIRD) + square
    return _saturated(EXP_OF_EIGHTH + _product(away + _half_away(terms, 1), EXP_OF_EIGHTH))


def _exp_of_negative(x: Wide, integer_bits: int) -> Wide:
    """exp(x) in Q0.15 for x <= 0 of so many integer bits."""
    fraction_bits = 15 - integer_bits
    quarter = 2 ** (fraction_bits - 2)
    below = (x & (quarter - 1)) - quarter
    result = _exp_of_eighths(below << integer_bits)
    left = below - x
    for power, factor in EXPONENTIALS.items():
        if power < integer_bits:
            result = np.where(left & 2 ** (fraction_bits + power), _product(result, factor), result)
    if integer_bits > MAX_INTEGER_BITS - 1:
        result = np.where(x < -(2 ** (20 - integer_bits)), 0, result)
    return np.where(x == 0, ONE, result)


def _reciprocal(x: Wide) -> Wide:
    """2 / (1 + x) with two integer bits, for x in [0, 1] in Q0.15: Newton's division."""
    half_denominator = x + ONE + 1 >> 1
    found = NEWTON_START + _product(half_denominator, NEWTON_SLOPE)
    for _ in range(NEWTON_STEPS):
        missing = 2**13 - _product(half_denominator, found)
        found = found + _saturated(_product(found, missing) * 4)
    return found
