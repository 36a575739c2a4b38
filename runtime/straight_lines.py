"""Entries between those that a table holds: on straight lines, in integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray

__all__ = ["on_straight_lines"]


def on_straight_lines(knots: IntArray, size: int) -> NDArray[np.int64]:
    """``size`` entries on the lines between 2^n + 1 knots.

    With d = size / 2^n, entry i d + k is t_i + floor(((t_(i+1) - t_i) k + d/2) / d) for 0 <= k < d; nothing is added for
    d = 1. The last knot is where the last line would end.
    """
    own = knots.astype(np.int64)
    apart = size // (own.size - 1)
    rises = np.diff(own)[:, None] * np.arange(apart) + apart // 2
    entries: NDArray[np.int64] = (own[:-1, None] + rises // apart).reshape(-1)
    return entries
