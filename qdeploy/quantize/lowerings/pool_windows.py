"""The windows of a float pool, with ``ceil_mode`` as pads."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.lowerings.registry import Context

__all__ = ["PoolWindow", "pool_window"]


@dataclass(frozen=True)
class PoolWindow:
    """What the attributes of the operators MaxPool and AveragePool say.

    Attributes:
        kernel, strides, dilations: one number an axis of the image.
        pads: of all beginnings, then of all ends, those of ``ceil_mode`` included.
        counted: how much of the pads is counted as places of a mean.
        sizes: of the image.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    counted: list[int]
    sizes: list[int]


def pool_window(context: Context, node: onnx.NodeProto) -> PoolWindow:
    """The window of an ONNX MaxPool or AveragePool whose image calibration saw.

    With ``ceil_mode`` a window that hangs over the end counts too, if it begins in the image or in the padding before it.
    """
    kernel = [int(size) for size in attribute(node, "kernel_shape")]
    rank = len(kernel)
    strides, dilations = (
        [int(number) for number in attribute(node, name) or [1] * rank] for name in ("strides", "dilations")
    )
    pads = [int(number) for number in attribute(node, "pads") or [0] * 2 * rank]
    counted = list(pads) if attribute(node, "count_include_pad", 0) else [0] * 2 * rank
    sizes = [int(size) for size in context.calibration[node.input[0]].sizes[2:]]
    if attribute(node, "ceil_mode", 0):
        for axis in range(rank):
            span = dilations[axis] * (kernel[axis] - 1) + 1
            room = sizes[axis] + pads[axis] + pads[rank + axis] - span
            last = -(-room // strides[axis])
            if last * strides[axis] >= sizes[axis] + pads[axis]:
                last -= 1
            missing = last * strides[axis] - room
            pads[rank + axis] += max(0, missing)
    return PoolWindow(kernel, strides, dilations, pads, counted, sizes)
