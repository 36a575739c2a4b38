"""Functions of one value: a table of the 256 values of 8 bits, or of an index of up to 12 bits where the operand is wide."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.capture.elementwise import ELEMENTWISE, TABLES
from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.prelu import rectify
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.rescale import rescale
from qdeploy.quantize.lowerings.table import INDEX_BITS, round_half_away
from qdeploy.quantize.tensor_type import TensorType, state_type, with_power_of_two_scale


@lowers(ELEMENTWISE, *TABLES)
def elementwise(context: Context, node: onnx.NodeProto) -> None:
    """Every entry is the function of the value that it stands for, rounded half away from zero: one rounding.

    An operand of 8 bits is the index itself; a wide one is brought to 12 bits over what calibration saw of it. Leaky
    rectifiers of wide operands, and those with a slope for each channel, need no table.
    """
    found = context.type_of(node.input[0])
    if node.op_type in {"LeakyRelu", "PRelu"} and rectify(context, node, found):
        return
    graph, output = context.integers, bounded_output(context, node.output[0])
    wide = found.dtype == "int16"
    index = _wide_index(context, node, found) if wide else found
    if context.recipe.multiplier_bits == 1 and index != found:
        index = with_power_of_two_scale(index, found.scale)
    result = _wide_result(context, output.name, found.bits) if wide else output.type
    if context.recipe.multiplier_bits == 1:
        result = with_power_of_two_scale(result, 1.0)
    operand = rescale(context, node.input[0], index, node.name)
    first, size = (index.low, 1 << index.bits) if wide else (0, 256)
    real = index.scale * (np.arange(size, dtype=np.float64) + first - index.zero_point)
    values: NDArray[np.float64] = context.floats.function_of(node)(real).reshape(-1)
    low, high = output.integers(result)
    # Where the function is not defined, no value that it is asked for lies: calibration would have met NaN.
    entries = round_half_away(np.nan_to_num(values) / result.scale) + result.zero_point
    name = graph.constant(f"{node.name}.entries", np.clip(entries, low, high).astype(result.dtype), bits=result.bits)
    graph.node("Table", [operand, name], [output.name], node.name)
    graph.types[output.name] = result


def _wide_index(context: Context, node: onnx.NodeProto, found: TensorType) -> TensorType:
    """The operand itself where 12 bits hold it, or 12 bits over what calibration saw."""
    needed = max(found.high, -found.low - 1).bit_length() + 1
    if needed <= INDEX_BITS:
        return TensorType("int16", found.scale, 0, needed, -(1 << (needed - 1)), (1 << (needed - 1)) - 1)
    statistics = context.calibration[node.input[0]]
    half = 1 << (INDEX_BITS - 1)
    reach = max(-statistics.low, statistics.high) or 1.0
    return TensorType("int16", reach / (half - 1), 0, INDEX_BITS, -half, half - 1)


def _wide_result(context: Context, name: str, bits: int) -> TensorType:
    """As many bits as the operand has, over what calibration saw."""
    seen = context.calibration[name]
    return state_type(max(-seen.low, seen.high) or 1.0, bits, signed=seen.low < 0)
