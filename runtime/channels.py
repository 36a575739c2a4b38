"""Where the channels of an activation stand, for the operators that have numbers for each of them."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import MAX_SHIFT, IntArray
from qdeploy.runtime.ops.operator import Node

__all__ = ["MAX_TRAILING", "channel_axis"]

MAX_TRAILING = 3
"""The axes behind the channels of a batch of volumes."""


def channel_axis(node: Node, x: IntArray, x_zero_point: int, trailing: int, shift: int) -> int:
    """The axis of the channels of ``x`` ``[..., C, *S]``, which has ``trailing`` axes S.

    Raises:
        ContractError: an input, a zero point, a number of axes or a shift that no operator of channels takes.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require(
        0 <= x_zero_point < 256 if x.dtype == np.uint8 else x_zero_point == 0,
        f"x_zero_point={x_zero_point} is none of a {x.dtype} tensor's.",
    )
    node.require(0 <= trailing <= MAX_TRAILING, f"trailing={trailing}; expected 0 to {MAX_TRAILING}.")
    node.require(x.ndim >= trailing + 2, f"x has shape {list(x.shape)}; expected at least {trailing + 2} axes.")
    node.require(0 <= shift <= MAX_SHIFT, f"shift={shift}; expected 0 to {MAX_SHIFT}.")
    return x.ndim - 1 - trailing
