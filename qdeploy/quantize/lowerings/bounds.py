"""Rectifiers behind a layer as bounds of its output: ReLU, and Clip (ReLU6, Hardtanh) between two numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.tensor_type import TensorType

__all__ = ["BOUNDING", "BoundedOutput", "bounded_output", "real_bounds"]

BOUNDING = ("Relu", "Clip")
"""Float operators that hold a value between two numbers."""


@dataclass(frozen=True)
class BoundedOutput:
    """The output of a layer with the rectifiers behind it.

    Attributes:
        name: the tensor that the last of them gives.
        type: its integer type, from what calibration saw of it.
        low, high: the real bounds, infinite where there is none.
    """

    name: str
    type: TensorType
    low: float
    high: float

    def integers(self, y: TensorType) -> tuple[int, int]:
        """The inclusive bounds in steps of ``y``, which is ``type`` or the same at another scale."""
        low, high = (
            end if math.isinf(bound) else min(y.high, max(y.low, round(bound / y.scale) + y.zero_point))
            for bound, end in ((self.low, y.low), (self.high, y.high))
        )
        return low, high


def bounded_output(context: Context, name: str) -> BoundedOutput:
    """Takes every Relu and Clip that alone reads ``name``, or what the one before gives, into the layer that makes it."""
    low, high = -math.inf, math.inf
    while (reader := context.floats.only_reader(name, *BOUNDING)) is not None:
        first, last = real_bounds(context, reader)
        low, high = min(max(low, first), last), max(min(high, last), first)
        name = reader.output[0]
        context.done.add(name)
    return BoundedOutput(name, context.output_type(name), low, high)


def real_bounds(context: Context, node: onnx.NodeProto) -> tuple[float, float]:
    """Between which numbers a Relu or a Clip holds its result; where a Clip's cross, ONNX gives the upper one."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    given = [
        float(context.floats.constant(node, index, what)) if len(node.input) > index and node.input[index] else absent
        for index, what, absent in ((1, "lower bound", -math.inf), (2, "upper bound", math.inf))
    ]
    return min(given), given[1]
