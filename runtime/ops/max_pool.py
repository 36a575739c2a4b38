"""MaxPool: the largest value of each window of an image."""

from __future__ import annotations

from functools import reduce

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.windows import check_windows, padded, taps


@operator("MaxPool", outputs=("y",))
def max_pool(
    node: Node, x: IntArray, *, kernel: list[int], strides: list[int], pads: list[int], dilations: list[int]
) -> tuple[IntArray, ...]:
    """y[b, c, p] = max over k of x[b, c, s p + d k - pads], in the type of x: exact, since scales are positive.

    Places outside of the image do not take part.

    Args:
        x: uint8 or int16 ``[B, C, *S]``, one to three axes of an image.
        kernel, strides, dilations: the window's size, s and d, one number an axis, at least 1.
        pads: of the beginnings of all axes, then of their ends (ONNX's order), so few that every window has a place inside
            of the image.

    Returns:
        ``[B, C, *out]``, out = floor((S + both pads - d (kernel - 1) - 1) / s) + 1 along each axis.

    The float layers are torch.nn.MaxPool1d, MaxPool2d and MaxPool3d, ONNX MaxPool; ``ceil_mode`` is larger pads at the end.
    It commutes with Requantize and ReLU, which do not fall.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    check_windows(node, x, kernel, strides, pads, dilations)
    inside = padded(np.ones((1, 1, *x.shape[2:]), bool), pads, 0)
    node.require(
        bool(reduce(np.logical_or, taps(inside, kernel, strides, dilations)).all()),
        f"pads {pads} leave a window of {kernel} outside of the image; expected pads smaller than the window.",
    )
    lowest = int(np.iinfo(x.dtype).min)
    return (reduce(np.maximum, taps(padded(x, pads, lowest), kernel, strides, dilations)).copy(),)
