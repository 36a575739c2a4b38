"""LSTM as LiteRT has it built in, where a recipe asks for LiteRT's own kernels.

Its integers leave little to choose. Pre-activations have 12 fractional bits; both states' scales are powers of two, of 8 bits
and 16; each gate's rows share one scale in U and one in W, and what brings their products to 2^-12 is a multiplier of 24
bits. A layer that this form cannot hold becomes the portable operator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.lstm_states import add_states, cell_type, every_state, power_of_two_state
from qdeploy.quantize.lowerings.quaternion_rows import QuaternionRows, store_weight, weight_record
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.lowerings.rnn import state_tensors
from qdeploy.quantize.multiplier import Multiplier, choose_multiplier
from qdeploy.quantize.state_range import StateRange
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight, check_finite, on_scale, quantize_weight, symmetric_scale
from qdeploy.runtime.accumulator import INT32_REACH
from qdeploy.runtime.gemmlowp import MAX_INTEGER_BITS
from qdeploy.runtime.ops.lstm_8x8x16 import GATE_BITS, H_ZERO_POINT, MAX_MULTIPLIER, PRE_ACTIVATION_BITS, reach

__all__ = ["lower_built_in"]

GATES = 4

STATE_BITS = 8

_OUTPUT_SHIFTS = range(16, 31)


@dataclass(frozen=True)
class _Numbers:
    """The layer's constants, and the bounds that its products keep."""

    input: QuantizedWeight
    recurrent: QuantizedWeight
    input_multiplier: Multiplier
    recurrent_multiplier: Multiplier
    bias: NDArray[np.int32]
    reach: int


def lower_built_in(context: Context, node: onnx.NodeProto) -> str | None:
    """Quantizes an LSTM layer for LiteRT's own operator; says why where that cannot be, and then has done nothing."""
    graph, recipe, floats, name = context.integers, context.recipe, context.floats, node.name
    x = context.type_of(node.input[0])
    if x.dtype != "uint8":
        return f"it takes {x.dtype}, and LiteRT's LSTM takes 8 bits"
    bias = floats.constant(node, 3, "bias")
    check_finite(bias, f"{name}.bias")
    states = node.output[0] or f"{node.output[1]}/states"
    seen = context.calibration[states]
    ranges = StateRange(seen, recipe.changed(state_bits=STATE_BITS), signed=True, bound=max(1.0, -seen.low, seen.high))
    state = power_of_two_state(ranges.free())
    output_shift = round(math.log2(state.scale)) + 2 * GATE_BITS
    cell_seen = context.calibration[f"{states}/cell"]
    cell = cell_type(max(-cell_seen.low, cell_seen.high))
    cell_integer_bits = round(math.log2(cell.scale)) + GATE_BITS
    if output_shift not in _OUTPUT_SHIFTS or cell_integer_bits > MAX_INTEGER_BITS:
        return (
            f"its states reach {max(-seen.low, seen.high):.4g} and {max(-cell_seen.low, cell_seen.high):.4g}, and LiteRT's "
            f"LSTM holds 128 and {2**MAX_INTEGER_BITS}"
        )
    numbers = _numbers(context, node, bias.astype(np.float64), x, state)
    if isinstance(numbers, str):
        return numbers

    state_in, state_out = state_tensors(context, node)
    cell_in, cell_out = state_tensors(context, node, cell=True)
    graph.node(
        "LSTM8x8x16",
        [
            node.input[0],
            state_in,
            cell_in,
            store_weight(context, node.input[1], numbers.input),
            store_weight(context, node.input[2], numbers.recurrent),
            graph.constant(f"{name}.bias", numbers.bias, bits=32, scale=numbers.input.scale * x.scale),
            graph.constant(f"{name}.input_multiplier", _of_gates(numbers.input_multiplier), bits=32),
            graph.constant(f"{name}.recurrent_multiplier", _of_gates(numbers.recurrent_multiplier), bits=32),
        ],
        [every_state(context, node), state_out, cell_out],
        name,
        x_zero_point=x.zero_point,
        input_shift=numbers.input_multiplier.shift,
        recurrent_shift=numbers.recurrent_multiplier.shift,
        cell_integer_bits=cell_integer_bits,
        output_shift=output_shift,
    )
    hidden = numbers.recurrent.integers.shape[1]
    add_states(context, node, (state, cell), (state_in, cell_in), (state_out, cell_out), hidden)
    graph.layers.append(_record(context, node, numbers, x, (state, cell)) | dict(ranges.report(state)))
    return None


def _numbers(
    context: Context, node: onnx.NodeProto, bias: NDArray[np.float64], x: TensorType, state: TensorType
) -> _Numbers | str:
    """The layer's constants, or why LiteRT's operator cannot hold them."""
    given, recurrent = (_by_gate(context, node, place) for place in (1, 2))
    products = [given.scale * x.scale, recurrent.scale * state.scale]
    rows = np.broadcast_to(products[0], bias.shape)
    whole = np.rint(bias / rows)
    if np.abs(whole).max(initial=0) >= INT32_REACH:
        return "its bias is beyond 32 bits at the scale of its input's product"
    multipliers = []
    for product in products:
        ratio = np.broadcast_to(product, bias.shape)[:: len(bias) // GATES] * 2.0**PRE_ACTIVATION_BITS
        if not 2.0**-31 < ratio.min() <= ratio.max() < 2.0**20:
            return f"its multipliers reach from {ratio.min():g} to {ratio.max():g}, and LiteRT takes 2^-31 to 2^20"
        multipliers.append(choose_multiplier(ratio, MAX_MULTIPLIER.bit_length(), node.name))
    found = max(
        reach(weight.integers, added, zero_point, _of_gates(multiplier), multiplier.shift)
        for weight, added, zero_point, multiplier in (
            (given, whole.astype(np.int32), x.zero_point, multipliers[0]),
            (recurrent, 0, H_ZERO_POINT, multipliers[1]),
        )
    )
    if found >= INT32_REACH:
        return f"a product of it could reach {found:,}, which 32 bits do not hold"
    return _Numbers(given, recurrent, multipliers[0], multipliers[1], whole.astype(np.int32), found)


def _by_gate(context: Context, node: onnx.NodeProto, place: int) -> QuantizedWeight:
    """U or W with one scale for each gate's rows; one for all on a trained grid, and where quaternions have rows of several."""
    floats, recipe, name = context.floats, context.recipe, node.input[place]
    weight = floats.constant(node, place, "input weight" if place == 1 else "recurrent weight")
    found = quantize_weight(weight, recipe, name, granularity="per_tensor")
    if found.exact_grid:
        return found
    largest = np.abs(weight.astype(np.float64)).reshape(GATES, -1).max(axis=1)
    scale = np.repeat(symmetric_scale(largest, recipe.weight_bits), len(weight) // GATES)
    quaternions = QuaternionRows.of(floats, name)
    if quaternions is not None and (quaternions.shared(scale) != scale).any():
        return found
    return on_scale(weight, scale, recipe.weight_bits)


def _of_gates(multiplier: Multiplier) -> NDArray[np.int32]:
    """One for each gate."""
    values: NDArray[np.int32] = np.broadcast_to(multiplier.values, (GATES,)).copy()
    return values


def _record(
    context: Context,
    node: onnx.NodeProto,
    numbers: _Numbers,
    x: TensorType,
    kinds: tuple[TensorType, TensorType],
) -> dict[str, Any]:
    state, cell = kinds
    given, recurrent = numbers.input, numbers.recurrent
    multipliers = (numbers.input_multiplier, numbers.recurrent_multiplier)
    weights = {node.input[1]: given, node.input[2]: recurrent}
    return {
        "name": node.name,
        "operator": "LSTM8x8x16",
        "activation": "sigmoid, tanh",
        "exact_grid": recurrent.exact_grid and given.exact_grid,
        "weight_error": max(recurrent.error, given.error),
        "activation_bits": x.bits,
        "state_bits": state.bits,
        "cell_bits": cell.bits,
        "cell_scale": cell.scale,
        "macs": int(given.integers.size + recurrent.integers.size),
        "accumulator_bits": accumulator_bits(numbers.reach),
        "multiplier_bits": max(int(multiplier.values.max()).bit_length() for multiplier in multipliers),
        "multiplier_error": max(multiplier.error for multiplier in multipliers),
        "calibrated_steps": max(1, context.calibration.steps),
        **weight_record(context, weights),
    }
