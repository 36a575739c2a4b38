"""What operators whose rounding is a named rule check of it before they compute."""

from __future__ import annotations

from qdeploy.runtime.numeric import FLOAT32_EXACT, IntArray
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.ops.qlinear_conv import single_precision_reach
from qdeploy.runtime.rounding import HALF_EVEN, RULES

__all__ = ["check_reach", "require_rule"]

_UINT8 = 2


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
    dtype: int,
) -> None:
    """Refuses a layer that the kernels of a known rule could not compute exactly.

    ``half_even`` is what single precision does with an exact product: x and y are uint8, multipliers are positive, and every
    accumulator times the odd part of its multiplier is below 2^24.

    Args:
        node: the layer.
        rounding: the rule's name.
        x, weight, bias, multiplier, x_zero_point, dtype: the layer's inputs and attributes.
    """
    if rounding != HALF_EVEN:
        return
    node.require(
        x.dtype.name == "uint8" and dtype == _UINT8,
        f"x is {x.dtype} and dtype={dtype}; rounding {HALF_EVEN} goes from uint8 to uint8.",
    )
    found = single_precision_reach(weight, bias, multiplier, max(x_zero_point, 255 - x_zero_point))
    node.require(
        0 < found < FLOAT32_EXACT,
        f"accumulator times multiplier could reach {found}; rounding {HALF_EVEN} needs positive multipliers and less than 2^24, "
        "which single precision holds.",
    )
