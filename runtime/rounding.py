"""Rules of a requantization's rounding, by name: the contract's own, and those of kernels that have another.

A rule is an exact map of integers; which runtime computes by which is said elsewhere. An operator names its rule by the
attribute ``rounding``; one without it has ``half_up``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.kernel_rounding import double_half_up, gemmlowp, half_away, single_precision
from qdeploy.runtime.numeric import INT32_MAX, IntArray, requantize_half_even
from qdeploy.runtime.numeric import requantize as requantize_half_up

__all__ = [
    "DOUBLE_HALF_UP",
    "GEMMLOWP",
    "HALF_AWAY",
    "HALF_EVEN",
    "HALF_UP",
    "RULES",
    "SINGLE_PRECISION",
    "Rule",
    "requantize",
]

Rule = Callable[[IntArray, "IntArray | int", int, int, int, int], NDArray[np.int64]]
"""(accumulator, multiplier, shift, zero_point, low, high) -> int64, as of ``numeric.requantize``."""

HALF_UP = "half_up"
HALF_EVEN = "half_even"

GEMMLOWP = "gemmlowp"
DOUBLE_HALF_UP = "double_half_up"
HALF_AWAY = "half_away"
SINGLE_PRECISION = "single_precision"

RULES: dict[str, Rule] = {
    HALF_UP: requantize_half_up,
    HALF_EVEN: requantize_half_even,
    GEMMLOWP: gemmlowp,
    DOUBLE_HALF_UP: double_half_up,
    HALF_AWAY: half_away,
    SINGLE_PRECISION: single_precision,
}


def requantize(
    accumulator: IntArray,
    multiplier: IntArray | int,
    shift: int,
    zero_point: int = 0,
    low: int = -(2**31),
    high: int = INT32_MAX,
    *,
    rounding: str = HALF_UP,
) -> NDArray[np.int64]:
    """y = clip(round(accumulator * multiplier / 2^shift) + zero_point, low, high), rounded by the rule of this name.

    Args:
        accumulator: integers, |accumulator| < 2^31, any shape ``[..., N]``.
        multiplier: one integer or ``[N]``, |multiplier| < 2^31.
        shift: 0 to 46.
        zero_point, low, high: the output's zero point and its clipping bounds, both inclusive.
        rounding: a name of ``RULES``.

    Raises:
        KeyError: no rule has this name; operators check it first, with their node's name.
    """
    return RULES[rounding](accumulator, multiplier, shift, zero_point, low, high)
