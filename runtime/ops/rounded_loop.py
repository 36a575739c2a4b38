"""What a recurrent layer whose rounding is a named rule checks of it before it computes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import FLOAT32_EXACT, IntArray, odd_part
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.rounding import HALF_EVEN, HALF_UP, SINGLE_PRECISION

__all__ = ["check_loop_rounding", "half_even_hindrance", "input_copies", "single_precision_hindrance"]

_RULES = (HALF_UP, HALF_EVEN, SINGLE_PRECISION)
_SATURATED = 256
"""A state that is so many steps from its zero point is clipped, whatever 8 bits it has."""
_CONVERTIBLE = 2**30
"""Results below this become integers of 32 bits before they are clipped; kernels give the wrong bound beyond 2^31."""
_LARGEST_WEIGHT = 127


def single_precision_hindrance(reach: NDArray[np.object_], multiplier: IntArray, shift: int) -> str | None:
    """Why kernels in single precision would not have this multiplier, or give the wrong bound; arguments as of the next."""
    if int(multiplier.min()) < 1:
        return "a multiplier is not positive"
    if int(odd_part(np.asarray(multiplier)).max()) >= FLOAT32_EXACT:
        return "a multiplier has more than the 24 bits of single precision"
    factors = np.broadcast_to(multiplier.astype(np.int64), len(reach)).astype(object)
    largest = int((reach * factors // (1 << shift)).max())
    if largest >= _CONVERTIBLE:
        return f"its states reach {largest:,} before they are clipped, and LiteRT's kernels are right below 2^30"
    return None


def half_even_hindrance(reach: NDArray[np.object_], multiplier: IntArray, shift: int) -> str | None:
    """Why kernels in single precision would not be exact for a loop, or None where they are.

    Args:
        reach: Python integers ``[H]``, the bound of each accumulator.
        multiplier: ``[1]`` or ``[H]``.
        shift: 0 to 46.
    """
    problem = single_precision_hindrance(reach, multiplier, shift)
    if problem is not None:
        return problem
    factors = np.broadcast_to(multiplier.astype(np.int64), len(reach)).astype(object)
    exact = np.minimum(reach, (_SATURATED << shift) // factors + 1) * odd_part(np.asarray(multiplier)).astype(object)
    if int(exact.max()) >= FLOAT32_EXACT:
        return (
            f"its accumulator times its multiplier could reach {int(exact.max()):,} where the state does not saturate, and "
            "single precision is exact up to 2^24"
        )
    return None


def input_copies(input_weight: IntArray, input_shift: int) -> int:
    """In how many int8 columns U 2^input_shift stands beside W: every input is repeated so often."""
    largest = int(np.abs(input_weight.astype(np.int64)).max(initial=0)) << input_shift
    return max(1, -(-largest // _LARGEST_WEIGHT))


def check_loop_rounding(
    node: Node,
    rounding: str,
    *,
    activation: str,
    reach: NDArray[np.object_],
    multiplier: IntArray,
    shift: int,
    requantized_input: bool,
) -> None:
    """Refuses a loop that the kernels of its rule could not compute exactly.

    ``half_even`` is one product of W and U side by side in single precision: bytes everywhere, no sigma but ReLU's bound, no
    requantization of U x, and accumulators that do not saturate times the odd part of the multiplier below 2^24.
    ``single_precision`` is the same with any accumulator and a multiplier of 24 bits.

    Args:
        node: the layer.
        rounding: the rule's name.
        activation, multiplier, shift: the layer's.
        reach: Python integers ``[H]``, the bound of each accumulator.
        requantized_input: whether it has an input_multiplier.
    """
    node.require(
        rounding in _RULES, f"rounding is {rounding!r}; expected one of {', '.join(_RULES)} of a recurrent layer."
    )
    if rounding == HALF_UP:
        return
    node.require(
        activation in ("linear", "relu") and not requantized_input,
        f"activation is {activation!r}{' with an input_multiplier' if requantized_input else ''}; rounding {rounding} goes "
        "with linear or relu, and without an input_multiplier.",
    )
    hindrance = half_even_hindrance if rounding == HALF_EVEN else single_precision_hindrance
    problem = hindrance(reach, multiplier, shift)
    node.require(problem is None, f"{problem}, as rounding {rounding} needs it.")
