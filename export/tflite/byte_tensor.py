"""Tensors of bytes between quantized operators of LiteRT: the contract's uint8 less 128, with a scale of 1.

A quantized operator multiplies its accumulator by scale_x scale_weight / scale_y, computed in floating point. With scales
of 1 for all activations this is the weight's scale, and that is multiplier / 2^shift, exactly. What the integers mean to
the network stands at its borders and in the manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.schema import ELEMENT_TYPES

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.writer import Shape, Value

__all__ = ["OFFSET", "SCALE", "ByteTensor", "cast_into", "new"]

OFFSET = 128
"""What int8 is less than uint8."""

SCALE = 1.0


@dataclass(frozen=True)
class ByteTensor:
    """An int8 tensor.

    Attributes:
        value: ``[1, *S, C]`` where ``last``, else as the graph has it.
        zero_point: of the uint8 that it stands for.
        last: whether channels stand last, and not second as in the graph.
    """

    value: Value
    zero_point: int
    last: bool

    @classmethod
    def of_int32(cls, code: Code, x: Value, zero_point: int) -> ByteTensor:
        """Of the contract's integers, in the graph's order."""
        moved = code.add(x, -OFFSET)
        value = new(code, moved.shape, zero_point)
        cast_into(code, moved, value)
        return cls(value, zero_point, last=False)

    def to_int32(self, code: Code) -> Value:
        """The contract's integers, in the graph's order."""
        return code.add(code.cast(self.channels_second(code).value, np.int32), OFFSET)

    def channels_last(self, code: Code) -> ByteTensor:
        """The same with channels last."""
        if self.last:
            return self
        rank = len(self.value.shape)
        return ByteTensor(self._transposed(code, [0, *range(2, rank), 1]), self.zero_point, last=True)

    def channels_second(self, code: Code) -> ByteTensor:
        """The same in the graph's order."""
        if not self.last:
            return self
        rank = len(self.value.shape)
        return ByteTensor(self._transposed(code, [0, rank - 1, *range(1, rank - 1)]), self.zero_point, last=False)

    def reshaped(self, code: Code, shape: Shape) -> Value:
        """The entries, as they lie, in another shape."""
        if self.value.shape == shape:
            return self.value
        result = new(code, shape, self.zero_point)
        sizes = code.subgraph.constant([-1 if size is None else size for size in shape])
        code.subgraph.add_several("RESHAPE", [self.value, sizes], [result])
        return result

    def _transposed(self, code: Code, order: list[int]) -> Value:
        shape = tuple(self.value.shape[axis] for axis in order)
        moving = [axis for axis in order if self.value.shape[axis] != 1]
        if moving == sorted(moving):
            return self.reshaped(code, shape)
        result = new(code, shape, self.zero_point)
        code.subgraph.add_several("TRANSPOSE", [self.value, code.subgraph.constant(order)], [result])
        return result


def cast_into(code: Code, x: Value, value: Value) -> None:
    """Int32 numbers that fit int8 into a tensor which :func:`new` made."""
    types = {"in_type": ELEMENT_TYPES["int32"], "out_type": ELEMENT_TYPES["int8"]}
    code.subgraph.add_several("CAST", [x], [value], **types)


def new(code: Code, shape: Shape, zero_point: int) -> Value:
    """A tensor for a quantized operator's result; ``zero_point`` as the contract has it."""
    return code.subgraph.tensor("", np.int8, shape, scale=SCALE, zero_point=zero_point - OFFSET)
