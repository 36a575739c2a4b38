"""TimeMean: the mean over the steps of a sequence, whatever their number."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("TimeMean", outputs=("y",))
def time_mean(node: Node, x: IntArray, *, axis: int) -> tuple[IntArray, ...]:
    """y = floor((2 sum(x) + T) / (2 T)) over the T steps along ``axis``: the mean, half up, in the type of x.

    The zero point needs no place in it: the mean of n - z is the mean of n less z, and z is an integer. No mean leaves
    the range of its numbers, so that nothing is clipped.

    Args:
        x: uint8 or int16, of rank 2 or more, at least one step; the sum is exact in 64 bits.
        axis: that of the steps, which y lacks; a negative one counts from the end.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require(x.ndim > 1 and -x.ndim <= axis < x.ndim, f"x has shape {list(x.shape)}, which has no axis {axis}.")
    steps = x.shape[axis]
    node.require(steps > 0, "x has no steps; a mean needs one.")
    total = x.sum(axis=axis, dtype=np.int64)
    return ((((2 * total + steps) // (2 * steps)).astype(x.dtype)),)
