"""Tanh and Sigmoid: a table over an 8-bit value, or over an index of up to 12 bits where the operand is wide."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.lowerings.registry import FLAT_BEYOND, Context, lowers
from qdeploy.quantize.lowerings.rescale import rescale
from qdeploy.quantize.lowerings.stored_table import stored_table
from qdeploy.quantize.tensor_type import TensorType, activation_type, state_type, with_power_of_two_scale

INDEX_BITS = 12
"""Of a wide index: the most that the contract allows, since the table costs memory only."""

FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "Tanh": lambda x: np.tanh(x),  # noqa: PLW0108 - a ufunc has a wider type than this table
    "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}
_FLAT_FROM: dict[str, Callable[[float], float]] = {
    "Tanh": math.atanh,
    "Sigmoid": lambda value: math.log(value / (1.0 - value)),
}


@lowers("Tanh", "Sigmoid")
def table(context: Context, node: onnx.NodeProto) -> None:
    """The operand becomes the index, over the range where the function bends; entries are rounded half away from zero.

    An operand of 8 bits gives a result of 8 bits. A wide one, a state of p bits, gives one of p bits: it is the index
    itself where 12 bits hold it, else it is brought to 12 bits.
    """
    power_of_two = context.recipe.multiplier_bits == 1
    found = context.type_of(node.input[0])
    wide = found.dtype == "int16"
    result = state_type(1.0, found.bits if wide else 8, signed=node.op_type == "Tanh")
    if power_of_two:
        # A power of two above the largest integer, so that sums and concatenations of such results need shifts only.
        result = TensorType(
            result.dtype,
            1.0 / (result.high - result.zero_point + 1),
            result.zero_point,
            result.bits,
            result.low,
            result.high,
        )
    index = (_wide_index if wide else _narrow_index)(context, node, found, result.bits)
    if power_of_two and index != found:
        index = with_power_of_two_scale(index, found.scale)
    operand = rescale(context, node.input[0], index, node.name)
    first = index.low if wide else 0
    size = 1 << index.bits if wide else 256
    real = index.scale * (np.arange(size) + first - index.zero_point)
    values: NDArray[np.float64] = FUNCTIONS[node.op_type](real.astype(np.float64))
    entries = round_half_away(values / result.scale) + result.zero_point
    name = f"{node.name}.entries"
    kept = np.clip(entries, result.low, result.high).astype(result.dtype)
    stored_table(context.integers, name, kept, result.bits)
    context.integers.node("Table", [operand, name], [node.output[0]], node.name)
    context.integers.types[node.output[0]] = result


def _narrow_index(context: Context, node: onnx.NodeProto, found: TensorType, bits: int) -> TensorType:
    del found, bits
    statistics = context.calibration[node.input[0]]
    flat = FLAT_BEYOND[node.op_type]
    return activation_type(max(statistics.low, -flat), min(statistics.high, flat), 8)


def _wide_index(context: Context, node: onnx.NodeProto, found: TensorType, bits: int) -> TensorType:
    """The operand itself, or 12 bits over what calibration saw or where the function bends, whichever is less."""
    needed = max(found.high, -found.low - 1).bit_length() + 1
    if needed <= INDEX_BITS:
        return TensorType("int16", found.scale, 0, needed, -(1 << (needed - 1)), (1 << (needed - 1)) - 1)
    statistics = context.calibration[node.input[0]]
    half = 1 << (INDEX_BITS - 1)
    flat = _FLAT_FROM[node.op_type](1 - 2.0 ** -(bits + 1))
    reach = min(max(-statistics.low, statistics.high), flat)
    return TensorType("int16", (reach or 1.0) / (half - 1), 0, INDEX_BITS, -half, half - 1)


def round_half_away(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To the nearest integer, ties away from zero."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)
