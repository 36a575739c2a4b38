"""What operators whose rounding is a named rule check of it before they compute."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import FLOAT32_EXACT, IntArray, odd_part
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.ops.qlinear_conv import accumulator_reach, single_precision_reach
from qdeploy.runtime.rounding import DOUBLE_HALF_UP, GEMMLOWP, HALF_AWAY, HALF_EVEN, HALF_UP, RULES, SINGLE_PRECISION

__all__ = ["CONVERTIBLE", "SATURATED", "check_reach", "half_even_reach", "largest_result", "require_rule"]

_UINT8 = 2
_FLOAT64_EXACT = 2**53
_TWICE = (GEMMLOWP, DOUBLE_HALF_UP)
_EXACT = {HALF_EVEN: (FLOAT32_EXACT, "single"), HALF_AWAY: (_FLOAT64_EXACT, "double")}
"""Below which bound of |acc| times the odd part of M a rule is what its kernels do."""

CONVERTIBLE = 2**30
"""Results below this become integers of 32 bits before they are clipped; kernels give the wrong bound beyond 2^31."""

SATURATED = 256
"""An output that is so many steps from its zero point is clipped, whatever 8 bits it has."""


def require_rule(node: Node, rounding: str) -> None:
    """Refuses a rule that is not known."""
    node.require(rounding in RULES, f"rounding is {rounding!r}; expected one of {', '.join(sorted(RULES))}.")


def check_reach(
    node: Node,
    rounding: str,
    *,
    x: IntArray,
    weight: IntArray,
    bias: IntArray,
    multiplier: IntArray,
    x_zero_point: int,
    shift: int,
    dtype: int,
) -> None:
    """Refuses a layer that the kernels of a known rule could not compute exactly.

    Every rule but the contract's own is of kernels from 8 bits to 8 bits with positive multipliers. ``half_even`` is what
    single precision does with an exact product: every accumulator whose result does not saturate, times the odd part of its
    multiplier, is below 2^24;
    ``half_away`` is what double precision does, below 2^53. Kernels that round twice double an accumulator for every factor
    of two by which its multiplier is above 1: that stays below 2^31.

    Args:
        node: the layer.
        rounding: the rule's name.
        x, weight, bias, multiplier, x_zero_point, shift, dtype: the layer's inputs and attributes.
    """
    if rounding == HALF_UP:
        return
    node.require(
        x.dtype.name == "uint8" and dtype == _UINT8,
        f"x is {x.dtype} and dtype={dtype}; rounding {rounding} goes from uint8 to uint8.",
    )
    if rounding == HALF_EVEN:
        found = half_even_reach(weight, bias, multiplier, shift, x_zero_point)
    else:
        found = single_precision_reach(weight, bias, multiplier, x_zero_point)
    if rounding in _EXACT:
        limit, held_by = _EXACT[rounding]
        node.require(
            0 < found < limit,
            f"accumulator times multiplier could reach {found}; rounding {rounding} needs positive multipliers and less than "
            f"2^{limit.bit_length() - 1}, which {held_by} precision holds.",
        )
    node.require(found > 0, f"a multiplier is not positive; rounding {rounding} needs positive ones.")
    if rounding in (*_EXACT, SINGLE_PRECISION):
        unclipped = largest_result(weight, bias, multiplier, shift, x_zero_point)
        node.require(
            unclipped < CONVERTIBLE,
            f"results reach {unclipped} before they are clipped; rounding {rounding} needs less than 2^30.",
        )
    if rounding not in _TWICE:
        return
    sums = accumulator_reach(weight, bias, x_zero_point)
    _, bits = np.frexp(multiplier.astype(np.float64))
    reach = int((sums << np.maximum(bits.astype(np.int64) - shift, 0)).max())
    node.require(
        reach < 2**31,
        f"a multiplier above 1 lifts the accumulator to {reach}; rounding {rounding} needs less than 2^31.",
    )


def largest_result(weight: IntArray, bias: IntArray, multiplier: IntArray, shift: int, x_zero_point: int) -> int:
    """The largest |acc| times its multiplier / 2^shift, rounded down; arguments as of :func:`half_even_reach`."""
    factors = np.abs(np.broadcast_to(multiplier.astype(np.int64), len(weight)))
    return int((accumulator_reach(weight, bias, x_zero_point) * factors >> shift).max())


def half_even_reach(weight: IntArray, bias: IntArray, multiplier: IntArray, shift: int, x_zero_point: int) -> int:
    """The largest |acc| whose result does not saturate, times the odd part of its multiplier; 0 where one is not positive.

    Where that is below 2^24, single precision is exact: beyond, the product is at least that of the last exact accumulator,
    since conversion and multiplication are monotone, and is clipped to the same bound.

    Args:
        weight: int8 ``[N, ...]``.
        bias: ``[N]``.
        multiplier: ``[1]`` or ``[N]``.
        shift: 0 to 46.
        x_zero_point: of x, whose bytes may be any.
    """
    if multiplier.min() < 1:
        return 0
    factors = np.broadcast_to(multiplier.astype(np.int64), len(weight))
    saturating = (SATURATED << shift) // factors + 1
    reach = np.minimum(accumulator_reach(weight, bias, x_zero_point), saturating)
    return max(1, int((reach * odd_part(factors)).max()))
