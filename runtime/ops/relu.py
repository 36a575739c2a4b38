"""Relu: max(x, zero point), for a rectifier that stands alone."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("Relu", outputs=("y",))
def relu(node: Node, x: IntArray, *, zero_point: int) -> tuple[IntArray, ...]:
    """y = max(x, zero_point); scale and zero point stay.

    Args:
        x: uint8 or int16, any shape.
        zero_point: the x that means 0.

    Where a layer ends with it, ReLU is that layer's lower bound instead; this operator serves the linear recurrence,
    whose rectifier stands between the loop and the output layer.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    return (np.maximum(x, x.dtype.type(zero_point)),)
