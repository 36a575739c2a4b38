"""What operators whose rounding is a named rule check of it before they compute."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import FLOAT32_EXACT, IntArray
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.ops.qlinear_conv import single_precision_reach
from qdeploy.runtime.rounding import DOUBLE_HALF_UP, GEMMLOWP, HALF_AWAY, HALF_EVEN, HALF_UP, RULES

__all__ = ["check_reach", "require_rule"]

_UINT8 = 2
_FLOAT64_EXACT = 2**53
_TWICE = (GEMMLOWP, DOUBLE_HALF_UP)
_EXACT = {HALF_EVEN: (FLOAT32_EXACT, "single"), HALF_AWAY: (_FLOAT64_EXACT, "double")}
"""Below which bound of |acc| times the odd part of M a rule is what its kernels do."""


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
    single precision does with an exact product: every accumulator times the odd part of its multiplier is below 2^24;
    ``half_away`` is what double precision does, below 2^53. Kernels that round twice double an accumulator for every factor
    of two by which its multiplier is above 1: that stays below 2^31.

    Args:
        node: the layer.
        rounding: the rule's name.
        x, weight, bias, multiplier, x_zero_point, dtype: the layer's inputs and attributes.
        shift: of the multiplier.
    """
    if rounding == HALF_UP:
        return
    node.require(
        x.dtype.name == "uint8" and dtype == _UINT8,
        f"x is {x.dtype} and dtype={dtype}; rounding {rounding} goes from uint8 to uint8.",
    )
    largest = max(x_zero_point, 255 - x_zero_point)
    found = single_precision_reach(weight, bias, multiplier, largest)
    if rounding in _EXACT:
        limit, held_by = _EXACT[rounding]
        node.require(
            0 < found < limit,
            f"accumulator times multiplier could reach {found}; rounding {rounding} needs positive multipliers and less than "
            f"2^{limit.bit_length() - 1}, which {held_by} precision holds.",
        )
    node.require(found > 0, f"a multiplier is not positive; rounding {rounding} needs positive ones.")
    if rounding not in _TWICE:
        return
    sums = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1) * largest + np.abs(
        bias.astype(np.int64)
    )
    _, bits = np.frexp(multiplier.astype(np.float64))
    reach = int((sums << np.maximum(bits.astype(np.int64) - shift, 0)).max())
    node.require(
        reach < 2**31,
        f"a multiplier above 1 lifts the accumulator to {reach}; rounding {rounding} needs less than 2^31.",
    )
