"""Clip: values held between two bounds, for a ReLU6 or a Hardtanh that stands alone."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("Clip", outputs=("y",))
def clip(node: Node, x: IntArray, *, low: int, high: int) -> tuple[IntArray, ...]:
    """y = min(max(x, low), high); scale and zero point stay.

    Args:
        x: uint8 or int16, any shape.
        low, high: inclusive bounds of x's type, low <= high.

    Where a layer ends with it, its bounds are that layer's instead. The float layers are torch.nn.ReLU6 and Hardtanh, ONNX
    Clip.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    bounds = np.iinfo(x.dtype)
    node.require(bounds.min <= low <= high <= bounds.max, f"bounds {low} to {high}; expected an interval of {x.dtype}.")
    return (np.clip(x, low, high),)
