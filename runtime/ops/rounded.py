"""What operators whose rounding is a named rule check of it before they compute."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import FLOAT32_EXACT, IntArray, odd_part
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.ops.qlinear_conv import accumulator_reach
from qdeploy.runtime.rounding import HALF_EVEN, RULES

__all__ = ["SATURATED", "check_reach", "half_even_reach", "require_rule"]

_UINT8 = 2

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

    ``half_even`` is what single precision does with an exact product: x and y are uint8, multipliers are positive, and every
    accumulator whose result does not saturate, times the odd part of its multiplier, is below 2^24.

    Args:
        node: the layer.
        rounding: the rule's name.
        x, weight, bias, multiplier, x_zero_point, shift, dtype: the layer's inputs and attributes.
    """
    if rounding != HALF_EVEN:
        return
    node.require(
        x.dtype.name == "uint8" and dtype == _UINT8,
        f"x is {x.dtype} and dtype={dtype}; rounding {HALF_EVEN} goes from uint8 to uint8.",
    )
    found = half_even_reach(weight, bias, multiplier, shift, x_zero_point)
    node.require(
        0 < found < FLOAT32_EXACT,
        f"accumulator times multiplier could reach {found}; rounding {HALF_EVEN} needs positive multipliers and less than 2^24, "
        "which single precision holds.",
    )


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
