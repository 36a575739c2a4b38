"""Rounding rules of kernels of TensorFlow Lite, in integers: every one was measured against the runtimes themselves.

All go from an accumulator and a multiplier M / 2^s to an integer; they differ in ties, and in rounding once or twice. Who
computes by which is the table in ``litert_rules``. A runtime makes M from scales: with scales of inputs and outputs that
are powers of two, and scales of weights M * 2^n, M below 2^24, every step of that is exact, in single precision too
(XNNPACK's ``input * weight / output``) and in TFLite's QuantizeMultiplier (31 bits, of a double).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray, requantize_half_even

__all__ = ["double_half_up", "first_shift", "gemmlowp", "half_away", "single_precision"]

_SINGLE_BITS = 24
"""Of a float32's significand."""


def first_shift(multiplier: IntArray | int, shift: int) -> NDArray[np.int64]:
    """By how many bits a kernel that rounds twice shifts first: by those of the multiplier, or by all.

    TFLite writes the multiplier as q / 2^31 * 2^e with 2^30 <= q < 2^31 and takes the upper half of acc * q first. That
    half is acc * M / 2^n for a multiplier M of n bits; what is left to shift is s - n. From M = 2^s on nothing is left.

    Args:
        multiplier: positive, one integer or ``[N]``.
        shift: 0 to 46.
    """
    _, bits = np.frexp(np.asarray(multiplier, np.float64))
    first: NDArray[np.int64] = np.minimum(bits, shift).astype(np.int64)
    return first


def gemmlowp(
    accumulator: IntArray, multiplier: IntArray | int, shift: int, zero_point: int, low: int, high: int
) -> NDArray[np.int64]:
    """Rounded twice: the upper half of the doubled product half up, then its power of two half away from zero.

    Source: MultiplyByQuantizedMultiplier of TensorFlow Lite without ``TFLITE_SINGLE_ROUNDING``, that is gemmlowp's
    SaturatingRoundingDoublingHighMul (whose nudge makes ties go up) and RoundingDivideByPOT (ties away from zero).

    Args:
        accumulator: ``[..., N]``, |accumulator| times 2^s / M where M > 2^s, below 2^31.
        multiplier: positive, below 2^31, one integer or ``[N]``.
        shift, zero_point, low, high: as of ``numeric.requantize``.
    """
    first = first_shift(multiplier, shift)
    upper = _half_up(np.multiply(accumulator, multiplier, dtype=np.int64), first)
    return np.clip(_half_away(upper, shift - first) + zero_point, low, high)


def double_half_up(
    accumulator: IntArray, multiplier: IntArray | int, shift: int, zero_point: int, low: int, high: int
) -> NDArray[np.int64]:
    """Rounded twice as :func:`gemmlowp`, both times half up.

    Source: ruy's kernels for AVX, AVX2 and AVX-512, and TensorFlow Lite's product of a matrix and one vector in NEON
    (vqrdmulh, then vrshl, without gemmlowp's correction of negative ties). Arguments as of :func:`gemmlowp`.
    """
    first = first_shift(multiplier, shift)
    upper = _half_up(np.multiply(accumulator, multiplier, dtype=np.int64), first)
    return np.clip(_half_up(upper, shift - first) + zero_point, low, high)


def half_away(
    accumulator: IntArray, multiplier: IntArray | int, shift: int, zero_point: int, low: int, high: int
) -> NDArray[np.int64]:
    """Rounded once, ties away from zero.

    Source: ai-edge-litert's reference kernel of FULLY_CONNECTED from 1.3.0 on, std::round of a double times a double:
    exact where |accumulator| times the odd part of the multiplier is below 2^53. Arguments as of ``numeric.requantize``.
    """
    product = np.multiply(accumulator, multiplier, dtype=np.int64)
    return np.clip(_half_away(product, np.int64(shift)) + zero_point, low, high)


def single_precision(
    accumulator: IntArray, multiplier: IntArray | int, shift: int, zero_point: int, low: int, high: int
) -> NDArray[np.int64]:
    """rint(float32(acc) * float32(M / 2^s)) + zero_point, clipped: the product rounded to 24 bits, then ties to even.

    Source: XNNPACK's fp32 requantization, ai-edge-litert's default. Where |acc| times the odd part of M is below 2^24
    nothing but the last rounding is left, which is the rule ``half_even``. Arguments as of ``numeric.requantize``, the
    multiplier positive.
    """
    factors = np.multiply(_to_single(np.asarray(accumulator)), _to_single(np.asarray(multiplier)), dtype=np.int64)
    return requantize_half_even(_to_single(factors), 1, shift, zero_point, low, high)


def _half_up(values: NDArray[np.int64], bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """floor(values / 2^bits + 1/2), bits of each entry of the last axis."""
    half = np.left_shift(1, bits, dtype=np.int64) >> 1
    rounded: NDArray[np.int64] = (values + half) >> bits
    return rounded


def _half_away(values: NDArray[np.int64], bits: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    """values / 2^bits to the nearest integer, ties away from zero."""
    half = np.left_shift(1, bits, dtype=np.int64) >> 1
    rounded: NDArray[np.int64] = np.sign(values) * ((np.abs(values) + half) >> bits)
    return rounded


def _to_single(values: IntArray) -> NDArray[np.int64]:
    """Each integer, below 2^62, as float32 holds it: 24 bits, ties to even."""
    wide = values.astype(np.int64)
    # A number that double precision rounds up to a power of two is rounded up to it by single precision too.
    _, bits = np.frexp(np.abs(wide).astype(np.float64))
    excess = np.maximum(bits.astype(np.int64) - _SINGLE_BITS, 0)
    whole = wide >> excess
    rest = (wide - (whole << excess)) << 1
    one = np.left_shift(1, excess, dtype=np.int64)
    whole += (rest > one) | ((rest == one) & (excess > 0) & (whole & 1 == 1))
    single: NDArray[np.int64] = whole << excess
    return single
