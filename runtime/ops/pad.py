"""Pad: zeros around images."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.windows import padded


@operator("Pad", outputs=("y",))
def pad(node: Node, x: IntArray, *, pads: list[int], zero_point: int) -> tuple[IntArray, ...]:
    """x with ``zero_point`` around each image; scale and zero point stay.

    Args:
        x: uint8 or int16 ``[B, C, *S]``, one to three axes of an image.
        pads: of the beginnings of the image's axes, then of their ends (ONNX's order), at least 0.
        zero_point: the x that means 0.

    Returns:
        ``[B, C, *out]``, out = S + both pads along each axis.

    Zeros in front of a convolution are its own pads; this operator serves what else reads them. The float layers are
    torch.nn.ZeroPad1d to 3d, ONNX Pad of mode constant.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require(
        x.ndim > 2 and len(pads) == 2 * (x.ndim - 2) and min(pads) >= 0,
        f"x has shape {list(x.shape)} and pads are {pads}; expected [B, C] and the axes of an image, two pads for each.",
    )
    bounds = np.iinfo(x.dtype)
    node.require(bounds.min <= zero_point <= bounds.max, f"zero_point={zero_point} is none of a {x.dtype} tensor's.")
    return (padded(x, pads, zero_point).copy(),)
