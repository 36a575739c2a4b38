"""Fixed-point multipliers: a positive real ratio as M / 2^s."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import MAX_SHIFT

SPREAD = 15
"""Powers of two of one tensor's channels reach over so many octaves."""

NO_ERROR = 2.0**-40
"""Relative: what float64 makes of a ratio that is a multiplier."""


@dataclass(frozen=True)
class Multiplier:
    """M and s of a requantization.

    Attributes:
        values: int32 ``[1]`` or ``[N]``.
        shift: s, common to all channels.
        error: the largest relative error of M / 2^s against the ratio.
    """

    values: NDArray[np.int32]
    shift: int
    error: float

    def as_shift(self) -> Multiplier:
        """The same requantization with M = 1 where one M serves all channels and is a power of two, else as it is.

        Where Hadamard blocks of 4^n units scale by 2^-n, a runtime then needs a shift alone.
        """
        value = int(self.values[0])
        spare = value.bit_length() - 1
        if self.values.size > 1 or value != 1 << spare or spare > self.shift:
            return self
        return Multiplier(np.ones(1, np.int32), self.shift - spare, self.error)


def choose_multiplier(
    ratio: NDArray[np.float64] | float, bits: int, where: str, max_shift: int = MAX_SHIFT
) -> Multiplier:
    """The M of at most ``bits`` bits and the largest s such that M / 2^s is nearest to ``ratio``.

    Args:
        ratio: positive, a number or one per channel; the largest uses all ``bits``.
        bits: 15, 31, or 1 for an exact power of two.
        where: the node, for errors.
        max_shift: 46, or 30 where the result is int32.

    Raises:
        UnsupportedModelError: a ratio that no shift represents, or that is no power of two where one is wanted.
    """
    ratios = np.atleast_1d(np.asarray(ratio, np.float64))
    if (ratios == ratios[0]).all():
        ratios = ratios[:1]
    largest = float(ratios.max())
    if not (math.isfinite(largest) and ratios.min() > 0):
        raise UnsupportedModelError(f"node {where}: the scale ratio is {ratios.min()}; expected a positive number.")
    if bits == 1:
        return _power_of_two(ratios, where, max_shift)
    shift = min(max_shift, bits - 1 - math.floor(math.log2(largest)))
    if shift >= 0 and _rounded(largest * 2.0**shift) >= 2**bits:
        shift -= 1
    if shift < 0:
        raise UnsupportedModelError(
            f"node {where}: the scale ratio {largest:g} does not fit {bits} bits; the output's range is far smaller than "
            "the accumulator's. Check the calibration samples."
        )
    values = np.array([_rounded(value * 2.0**shift) for value in ratios], np.int64)
    error = float(np.abs(values / 2.0**shift / ratios - 1).max())
    return Multiplier(np.maximum(values, 1).astype(np.int32), shift, error)


def raised_to_multipliers(ratios: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """The ratios, each raised to the next M / 2^s with M of at most ``bits`` bits and one s for all: scales that lose nothing.

    Args:
        ratios: positive ``[N]``.
        bits: of M; the largest ratio uses all of them and is raised by a part in 2^(bits - 1) at most.
    """
    shift = bits - 1 - math.floor(math.log2(ratios.max()))
    values = np.ceil(ratios * 2.0**shift)
    if values.max() >= 2**bits:
        shift -= 1
        values = np.ceil(ratios * 2.0**shift)
    raised: NDArray[np.float64] = values / 2.0**shift
    return raised


def _power_of_two(ratios: NDArray[np.float64], where: str, max_shift: int) -> Multiplier:
    shifts = -np.log2(ratios)
    if (shifts != np.rint(shifts)).any():
        raise UnsupportedModelError(
            f"node {where}: the ratio of its scales, {float(ratios[0]):g}, is no power of two, as multipliers of 1 bit need it; "
            "a trained grid or an operand of another scale fixes it. Use multipliers of 15 or 31 bits, or, for a grid, a "
            "recipe with recognise_grid off."
        )
    shift = max(0, int(shifts.max()))
    if shift > max_shift or shift - shifts.min() > 30:
        raise UnsupportedModelError(
            f"node {where}: the ratios 2^{-shifts.max():g} to 2^{-shifts.min():g} do not fit a shift of 0 to {max_shift} "
            "and a multiplier of at most 2^30; use multipliers of 15 or 31 bits."
        )
    return Multiplier((2.0 ** (shift - shifts)).astype(np.int32), shift, 0.0)


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)
