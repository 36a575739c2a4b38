"""GlobalMaxPool: the largest value of each channel over its whole image."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("GlobalMaxPool", outputs=("y",))
def global_max_pool(node: Node, x: IntArray) -> tuple[IntArray, ...]:
    """y[b, c] = max over all places of x[b, c, place], in the type of x: exact, since scales are positive.

    Args:
        x: uint8 or int16 ``[B, C, *S]``, one axis of an image or more.

    Returns:
        ``[B, C, 1, ...]``, of the rank of x.

    The float layers are torch.nn.AdaptiveMaxPool1d to 3d with one place, a maximum over all axes of the image, ONNX
    GlobalMaxPool.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require(x.ndim > 2 and x.size > 0, f"x has shape {list(x.shape)}; expected [B, C] and the axes of an image.")
    y: IntArray = x.max(axis=tuple(range(2, x.ndim)), keepdims=True)
    return (y,)
