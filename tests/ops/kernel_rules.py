"""Rounding rules of kernels, one number at a time, as the kernels' sources write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from .definitions import Integers

__all__ = ["DEFINITIONS", "by_rule"]


def quantized(real: float) -> tuple[int, int]:
    """TFLite's QuantizeMultiplier: real = q / 2^31 * 2^exponent."""
    mantissa, exponent = math.frexp(real)
    q = math.floor(mantissa * 2**31 + 0.5)
    return (q // 2, exponent + 1) if q == 2**31 else (q, exponent)


def high_multiplied(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul: C's division cuts towards zero."""
    product = a * b
    nudged = product + (1 << 30 if product >= 0 else 1 - (1 << 30))
    return nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)


def divided_away(x: int, bits: int) -> int:
    """gemmlowp's RoundingDivideByPOT."""
    mask = (1 << bits) - 1
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> bits) + (1 if x & mask > threshold else 0)


def gemmlowp(accumulator: int, multiplier: int, shift: int) -> int:
    """TFLite's MultiplyByQuantizedMultiplier."""
    q, exponent = quantized(multiplier / 2**shift)
    return divided_away(high_multiplied(accumulator << max(exponent, 0), q), max(-exponent, 0))


def double_half_up(accumulator: int, multiplier: int, shift: int) -> int:
    """vqrdmulh, then vrshl: both add a half and shift."""
    q, exponent = quantized(multiplier / 2**shift)
    upper = (2 * (accumulator << max(exponent, 0)) * q + 2**31) >> 32
    left = max(-exponent, 0)
    return (upper + (1 << left >> 1)) >> left


def half_away(accumulator: int, multiplier: int, shift: int) -> int:
    """std::round."""
    value = Fraction(accumulator * multiplier, 1 << shift)
    size = math.floor(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


def half_even(accumulator: int, multiplier: int, shift: int) -> int:
    """Python's own rounding of fractions."""
    return round(Fraction(accumulator * multiplier, 1 << shift))


def half_up(accumulator: int, multiplier: int, shift: int) -> int:
    """The contract's own."""
    return math.floor(Fraction(accumulator * multiplier, 1 << shift) + Fraction(1, 2))


def single_precision(accumulator: int, multiplier: int, shift: int) -> int:
    """The processor's own single precision."""
    return int(np.rint(np.float32(accumulator) * np.float32(multiplier / 2**shift)))


DEFINITIONS: dict[str, Callable[[int, int, int], int]] = {
    "gemmlowp": gemmlowp,
    "double_half_up": double_half_up,
    "half_away": half_away,
    "half_even": half_even,
    "half_up": half_up,
    "single_precision": single_precision,
}


def by_rule(
    rule: str, accumulator: Integers, multiplier: Integers, shift: int, zero_point: int, low: int, high: int
) -> Integers:
    """An array by a rule, clipped."""
    one = DEFINITIONS[rule]
    rounded: Any = np.vectorize(lambda a, m: one(int(a), int(m), shift), otypes=[object])(accumulator, multiplier)
    clipped: Integers = np.minimum(np.maximum(rounded + zero_point, low), high)
    return clipped
