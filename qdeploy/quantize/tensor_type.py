"""The integer types of activations: value = scale * (n - zero_point)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx

INDEX_TYPES = ("int32", "int64")
"""Element types of indices."""

SMALLEST_SCALE = 2.0**-126
"""Inputs are divided by float32(scale), which below this loses bits and then is zero."""


@dataclass(frozen=True)
class TensorType:
    """How a tensor holds real values.

    Attributes:
        dtype: ``uint8`` or ``int16``; ``int32`` or ``int64`` of indices, which count a table's rows (scale 1).
        scale: the real value of one step, float64.
        zero_point: the integer that means 0.
        bits: how many bits the integers use.
        low, high: inclusive bounds of the integers.
    """

    dtype: str
    scale: float
    zero_point: int
    bits: int
    low: int
    high: int

    @property
    def onnx_type(self) -> int:
        """TensorProto.DataType."""
        return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)))

    @property
    def is_index(self) -> bool:
        """Whether the integers are indices, which mean no real value."""
        return self.dtype in INDEX_TYPES

    @property
    def reach(self) -> int:
        """The largest |n - zero_point| that an accumulator is proven for.

        Of a uint8 tensor any byte counts, also where fewer bits are used: what a user feeds is clipped to the type only.
        """
        low, high = (0, 255) if self.dtype == "uint8" else (self.low, self.high)
        return max(high - self.zero_point, self.zero_point - low)


def index_type(dtype: str, rows: int) -> TensorType:
    """The type of indices into a table of ``rows`` rows."""
    return TensorType(dtype, 1.0, 0, max(1, (rows - 1).bit_length()), 0, rows - 1)


def table_type(scale: float, bits: int, *, wide: bool) -> TensorType:
    """The type whose integers are those of signed weights of at most ``bits`` bits, at the weights' own scale.

    The zero point is in the middle of ``bits`` bits; a ``wide`` type has 16 bits and the zero point 0.
    """
    if wide:
        return TensorType("int16", scale, 0, 16, -(2**15), 2**15 - 1)
    return TensorType("uint8", scale, 2 ** (bits - 1), bits, 0, 2**bits - 1)


def activation_type(low: float, high: float, bits: int) -> TensorType:
    """An unsigned type of ``bits`` bits whose range covers [low, high] and holds 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    levels = 2**bits - 1
    scale = max((high - low) / levels, SMALLEST_SCALE) if high > low else 1.0
    zero_point = min(levels, max(0, round(-low / scale)))
    return TensorType("uint8", scale, zero_point, bits, 0, levels)


def grid_type(low: float, high: float, grid_bits: int | None, bits: int) -> TensorType:
    """The type of an input: on its own power-of-two grid where that fits ``bits`` bits (pixels / 256 do), else by range."""
    if grid_bits is not None and low >= 0 and high * 2**grid_bits <= 2**bits - 1:
        return TensorType("uint8", 2.0**-grid_bits, 0, bits, 0, 2**bits - 1)
    return activation_type(low, high, bits)


def logits_type(low: float, high: float) -> TensorType:
    """16 bits for what leaves the network, one scale for all classes, one bit of room beyond what calibration saw."""
    largest = max(abs(low), abs(high)) or 1.0
    return TensorType("int16", max(2 * largest / (2**15 - 1), SMALLEST_SCALE), 0, 16, -(2**15), 2**15 - 1)


def with_power_of_two_scale(wanted: TensorType, unit: float) -> TensorType:
    """``wanted`` with the next larger scale that is a power of two times ``unit``."""
    return with_scale(wanted, unit * 2.0 ** math.ceil(math.log2(wanted.scale / unit)))


def with_scale(wanted: TensorType, scale: float) -> TensorType:
    """``wanted`` with another scale, its zero point at the same place of the range."""
    zero_point = round(wanted.zero_point * wanted.scale / scale)
    return TensorType(wanted.dtype, scale, zero_point, wanted.bits, wanted.low, wanted.high)


def state_type(largest: float, bits: int, *, signed: bool) -> TensorType:
    """A recurrent state: uint8 up to 8 bits (zero point in the middle if signed), else int16 with zero point 0."""
    if bits <= 8:
        if not signed:
            return TensorType("uint8", largest / (2**bits - 1), 0, bits, 0, 2**bits - 1)
        half = 2 ** (bits - 1)
        return TensorType("uint8", largest / (half - 1), half, bits, 0, 2**bits - 1)
    if not signed and bits <= 15:
        return TensorType("int16", largest / (2**bits - 1), 0, bits, 0, 2**bits - 1)
    half = 2 ** (bits - 1)
    return TensorType("int16", largest / (half - 1), 0, bits, -half if signed else 0, half - 1)
