"""TimeMax: the largest value of each unit over the steps of a sequence."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("TimeMax", outputs=("y",))
def time_max(node: Node, x: IntArray, *, axis: int) -> tuple[IntArray, ...]:
    """y = max(x) over the steps along ``axis``, in the type of x: exact, since the scale is positive.

    Args:
        x: uint8 or int16, of rank 2 or more, at least one step.
        axis: that of the steps, which y lacks; a negative one counts from the end.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require(x.ndim > 1 and -x.ndim <= axis < x.ndim, f"x has shape {list(x.shape)}, which has no axis {axis}.")
    node.require(x.shape[axis] > 0, "x has no steps; a maximum needs one.")
    y: IntArray = x.max(axis=axis)
    return (y,)
