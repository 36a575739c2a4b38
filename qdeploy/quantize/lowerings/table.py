"""Tanh and Sigmoid: a table of 256 entries over an 8-bit value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.lowerings.registry import FLAT_BEYOND, Context, lowers
from qdeploy.quantize.lowerings.rescale import rescale
from qdeploy.quantize.tensor_type import TensorType, activation_type

FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "Tanh": lambda x: np.tanh(x),  # noqa: PLW0108 - a ufunc has a wider type than this table
    "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}
RESULTS = {
    "Tanh": TensorType("uint8", 1 / 127, 128, 8, 0, 255),
    "Sigmoid": TensorType("uint8", 1 / 255, 0, 8, 0, 255),
}


@lowers("Tanh", "Sigmoid")
def table(context: Context, node: onnx.NodeProto) -> None:
    """The operand becomes 8 bits over the range where the function bends; entries are rounded half away from zero."""
    statistics = context.calibration[node.input[0]]
    flat = FLAT_BEYOND[node.op_type]
    index = activation_type(max(statistics.low, -flat), min(statistics.high, flat), 8)
    operand = rescale(context, node.input[0], index, node.name)
    real = index.scale * (np.arange(256) - index.zero_point)
    result = RESULTS[node.op_type]
    values: NDArray[np.float64] = FUNCTIONS[node.op_type](real.astype(np.float64))
    entries = round_half_away(values / result.scale) + result.zero_point
    name = f"{node.name}.entries"
    context.integers.constant(name, np.clip(entries, result.low, result.high).astype(np.uint8), bits=8)
    context.integers.node("Table", [operand, name], [node.output[0]], node.name)
    context.integers.types[node.output[0]] = result


def round_half_away(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """To the nearest integer, ties away from zero."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)
