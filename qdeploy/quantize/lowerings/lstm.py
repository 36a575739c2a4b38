"""LSTM: scales of the gates' accumulator, of both states and of the tables between them.

The accumulator of all gates has the scale s_W s_h, or that over a power of two where its unit would be coarse beside a
step of the tables. Where W has one scale, what closes the accumulator is a shift: the tables' steps, which are free, are
powers of two times its unit, and so is the scale of U x, whose rows lose less than a bit. Bodies then need no multiplier
in the loop and none before it. Weights of few bits keep their scales, and U x is requantized before the loop.
The states' scales are powers of two, since products of gates and states are rounded by shifts alone: h reaches to 1, the
cell state to the power of two above what calibration saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration import initial_state
from qdeploy.quantize import builtin_kernels
from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.lstm_8x8x16 import lower_built_in
from qdeploy.quantize.lowerings.lstm_states import add_states, cell_type, every_state, power_of_two_state
from qdeploy.quantize.lowerings.quaternion_rows import store_weight, weight_record
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.rnn import state_tensors
from qdeploy.quantize.lowerings.stored_table import stored_table
from qdeploy.quantize.lowerings.table import FUNCTIONS, INDEX_BITS, round_half_away
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.state_range import StateRange
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight, check_finite, on_scale, powers_of_two, quantize_weight
from qdeploy.runtime.accumulator import INT32_REACH, recurrent_reach
from qdeploy.runtime.errors import AccumulatorOverflowError, UnsupportedModelError
from qdeploy.runtime.ops.lstm import CELL_HIGH, CELL_LOW, GATE_BITS, MAX_OUTPUT_SHIFT

SIGMOID_REACH, TANH_REACH = 8.0, 4.0
"""Beyond this a table ends: sigmoid(8) is 0.0003 from 1 and tanh(4) 0.0007, as much as half a step of 12 bits is there."""

SMALLEST_REACH = 1.0
"""Tables reach at least so far: a finer step than 2^-11 gains nothing, and bodies hold one entry for every index there can be."""

DRIVE_BITS = 28
"""Of an accumulator's 31, for U x + b; a recurrent weight that vanishes beside it is held coarser."""

STEPS_OF_INDEX = 4
"""The accumulator's unit is at most 2^-4 of a step of the tables, where int32 has room for it."""

MAX_LIFT = 24

FREE_SCALE_BITS = 6
"""Weights of so many bits bear that U's scales are rounded up to powers of two of the accumulator's."""

TANH_BITS = 15
"""Fractional bits of tanh of the cell state."""

_HALF = 1 << (INDEX_BITS - 1)


@lowers("LSTM")
def lstm(context: Context, node: onnx.NodeProto) -> None:
    """Quantizes one LSTM layer; its two states become inputs and outputs of the network."""
    reasons: dict[str, str] = {}
    if builtin_kernels.wanted(context.recipe):
        reason = lower_built_in(context, node)
        if reason is None:
            return
        reasons[builtin_kernels.BECAUSE] = reason
    graph, recipe, floats, name = context.integers, context.recipe, context.floats, node.name
    x = context.type_of(node.input[0])
    input_float = floats.constant(node, 1, "input weight")
    recurrent_float = floats.constant(node, 2, "recurrent weight")
    bias = floats.constant(node, 3, "bias").astype(np.float64)
    check_finite(bias.astype(np.float32), f"{name}.bias")
    states = node.output[0] or f"{node.output[1]}/states"
    seen = context.calibration[states]
    ranges = StateRange(seen, recipe, signed=True, bound=max(1.0, -seen.low, seen.high))
    state = power_of_two_state(ranges.free())
    output_shift = round(math.log2(state.scale)) + GATE_BITS + TANH_BITS
    if not 0 <= output_shift <= MAX_OUTPUT_SHIFT:
        raise UnsupportedModelError(
            f"node {name}: hidden states with steps of {state.scale:g} have no integer form; its initial state "
            f"({initial_state(node)}) reaches {seen.high:.4g}, where the layer's own states stay within 1."
        )
    cell_seen = context.calibration[f"{states}/cell"]
    cell = cell_type(max(-cell_seen.low, cell_seen.high))

    recurrent = _recurrent(recurrent_float, input_float, bias, recipe, x, state, node)
    given = _input(input_float, recipe, x, node)
    gate_unit = recurrent.scale * state.scale
    shifts_only = recurrent.scale.size == 1 or recipe.multiplier_bits == 1
    unit = float(gate_unit.min()) if shifts_only else None
    gates, candidate = context.calibration[f"{states}/gates"], context.calibration[f"{states}/candidate"]
    gate_scale = _index_scale(max(-gates.low, gates.high), SIGMOID_REACH, unit)
    candidate_scale = _index_scale(max(-candidate.low, candidate.high), TANH_REACH, unit)
    index_scale = np.repeat([gate_scale, gate_scale, candidate_scale, gate_scale], recurrent_float.shape[1])
    chosen = _accumulator(node, recurrent, given, input_float, bias, x, state, recipe, min(gate_scale, candidate_scale))
    given = chosen.input
    ratio = np.broadcast_to(chosen.scale, index_scale.shape) / index_scale
    multiplier = choose_multiplier(ratio, 1 if shifts_only else recipe.multiplier_bits, name)

    cell_shift = _cell_shift(cell)
    tables = {
        "gate_table": _entries("Sigmoid", gate_scale, 2.0**-GATE_BITS, 0, 2**GATE_BITS),
        "candidate_table": _entries("Tanh", candidate_scale, cell.scale, -CELL_HIGH, CELL_HIGH),
        "cell_table": _entries(
            "Tanh", cell.scale * 2.0**cell_shift, 2.0**-TANH_BITS, -CELL_HIGH, _tanh_high(state, output_shift)
        ),
    }
    state_in, state_out = state_tensors(context, node)
    cell_in, cell_out = state_tensors(context, node, cell=True)
    graph.node(
        "LSTM",
        [
            node.input[0],
            state_in,
            cell_in,
            store_weight(context, node.input[1], given),
            store_weight(context, node.input[2], recurrent),
            graph.constant(f"{name}.bias", chosen.bias, bits=32, scale=chosen.scale),
            graph.constant(f"{name}.input_multiplier", chosen.input_multiplier, bits=32),
            graph.constant(f"{name}.multiplier", multiplier.values, bits=32),
            *(stored_table(graph, f"{name}.{table}", entries, 16) for table, entries in tables.items()),
        ],
        [every_state(context, node), state_out, cell_out],
        name,
        x_zero_point=x.zero_point,
        h_zero_point=state.zero_point,
        input_shift=chosen.input_shift,
        recurrent_shift=chosen.lift,
        shift=multiplier.shift,
        cell_shift=cell_shift,
        output_shift=output_shift,
        low=state.low,
        high=state.high,
        dtype=state.onnx_type,
    )
    hidden = recurrent_float.shape[1]
    add_states(context, node, (state, cell), (state_in, cell_in), (state_out, cell_out), hidden)
    graph.layers.append(
        {
            "name": name,
            "operator": "LSTM",
            "activation": "sigmoid, tanh",
            "exact_grid": recurrent.exact_grid and given.exact_grid,
            "weight_error": max(recurrent.error, given.error),
            "activation_bits": x.bits,
            "state_bits": state.bits,
            "cell_bits": cell.bits,
            "cell_scale": cell.scale,
            "macs": int(input_float.size + recurrent_float.size),
            "accumulator_bits": accumulator_bits(chosen.reach),
            "multiplier_bits": int(multiplier.values.max()).bit_length(),
            "multiplier_error": multiplier.error,
            "calibrated_steps": max(1, context.calibration.steps),
            **weight_record(context, {node.input[1]: given, node.input[2]: recurrent}),
            **ranges.report(state),
            **reasons,
        }
    )


@dataclass(frozen=True)
class _Accumulator:
    """The accumulator's scale ``[1]`` or ``[4H]``, what brings both products and the bias to it, and its proven reach."""

    input: QuantizedWeight
    scale: NDArray[np.float64]
    lift: int
    input_multiplier: NDArray[np.int32]
    input_shift: int
    bias: NDArray[np.int32]
    reach: int


def _accumulator(
    node: onnx.NodeProto,
    recurrent: QuantizedWeight,
    free: QuantizedWeight,
    input_float: NDArray[np.float32],
    bias: NDArray[np.float64],
    x: TensorType,
    state: TensorType,
    recipe: Recipe,
    step: float,
) -> _Accumulator:
    """The finest scale s_W s_h / 2^lift that is of use beside a ``step`` of the tables and that int32 has room for.

    Raises:
        AccumulatorOverflowError: when int32 has no room for s_W s_h itself.
    """
    product = recurrent.scale * state.scale
    wanted = math.ceil(math.log2(product.max() * 2**STEPS_OF_INDEX / step))
    shifts_only = product.size == 1 and not free.exact_grid and free.bits >= FREE_SCALE_BITS
    bits = 1 if shifts_only or recipe.multiplier_bits == 1 else 31
    for lift in range(min(MAX_LIFT, max(0, wanted)), -1, -1):
        scale = product / 2.0**lift
        given = _multiple_of(free, input_float, scale, x) if shifts_only else free
        rows = np.broadcast_to(scale, bias.shape)
        integer_bias = np.rint(bias / rows)
        ratio = np.broadcast_to(given.scale * x.scale, bias.shape) / rows
        if shifts_only:
            # Made as powers of two; a division and a product may have moved them by a last bit.
            ratio = 2.0 ** np.rint(np.log2(ratio))
        reach = np.abs(integer_bias)
        if reach.max() < INT32_REACH and ratio.max() < 2.0**30:
            multiplier = choose_multiplier(ratio, bits, node.name, max_shift=30)
            reach = recurrent_reach(
                recurrent_weight=recurrent.integers,
                input_weight=given.integers,
                bias=integer_bias,
                state=max(state.high - state.zero_point, state.zero_point - state.low),
                x=x.reach,
                recurrent_shift=lift,
                input_shift=multiplier.shift,
                input_multiplier=multiplier.values,
            )
            if reach.max() < INT32_REACH:
                kept = scale[:1] if (scale == scale[0]).all() else scale
                return _Accumulator(
                    given,
                    kept,
                    lift,
                    multiplier.values,
                    multiplier.shift,
                    integer_bias.astype(np.int32),
                    int(reach.max()),
                )
    raise AccumulatorOverflowError(
        f"node {node.name}: the accumulator of row {int(reach.argmax())} of its gates could reach more than int32 holds "
        "(2.147e9); use fewer state bits (--state-bits) or fewer weight bits."
    )


def _recurrent(
    weight: NDArray[np.float32],
    input_weight: NDArray[np.float32],
    bias: NDArray[np.float64],
    recipe: Recipe,
    x: TensorType,
    state: TensorType,
    node: onnx.NodeProto,
) -> QuantizedWeight:
    """W, coarser where it vanishes beside U x + b, which its scale would otherwise lift out of int32."""
    check_finite(input_weight, node.input[1])
    power_of_two = recipe.multiplier_bits == 1
    found = quantize_weight(
        weight, recipe, node.input[2], granularity=recipe.recurrent_granularity, power_of_two=power_of_two
    )
    drive = np.abs(input_weight.astype(np.float64)).sum(axis=1) * x.scale * (x.high - x.low) + np.abs(bias)
    least = float(drive.max() / (state.scale * 2.0**DRIVE_BITS))
    if found.scale.min() >= least:
        return found
    scale = np.maximum(found.scale, least)
    return on_scale(weight, powers_of_two(scale) if power_of_two else scale, recipe.weight_bits)


def _input(weight: NDArray[np.float32], recipe: Recipe, x: TensorType, node: onnx.NodeProto) -> QuantizedWeight:
    """U; where multipliers are powers of two, so is the scale of U x."""
    found = quantize_weight(weight, recipe, node.input[1], granularity=recipe.weight_granularity)
    if recipe.multiplier_bits > 1 or found.exact_grid:
        return found
    return on_scale(weight, powers_of_two(found.scale * x.scale) / x.scale, recipe.weight_bits)


def _multiple_of(
    found: QuantizedWeight, weight: NDArray[np.float32], unit: NDArray[np.float64], x: TensorType
) -> QuantizedWeight:
    """U again, so that every row's s_U s_x is the next power of two times the accumulator's ``unit``, 1 at least."""
    rows = np.broadcast_to(found.scale * x.scale / unit, weight.shape[:1])
    raised = 2.0 ** np.maximum(0.0, np.ceil(np.log2(rows) - 1e-9))
    return on_scale(weight, raised * unit / x.scale, found.bits)


def _tanh_high(state: TensorType, output_shift: int) -> int:
    """The largest tanh of a cell state, in Q0.15.

    Where the hidden state reaches to one, it is what an open gate shows within its bounds: no step clips it then, and what
    a gate that is not open loses is less than half a step of the state. A narrower state's bounds clip.
    """
    top = (state.high - state.zero_point + 1) << output_shift
    if top < 1 << (GATE_BITS + TANH_BITS):
        return CELL_HIGH
    return min(CELL_HIGH, (top - ((1 << output_shift) >> 1) - 1) >> GATE_BITS)


def _cell_shift(cell: TensorType) -> int:
    """By how much a cell state is shifted to be an index of the table of tanh."""
    reach = min(TANH_REACH, cell.scale * -CELL_LOW)
    return max(0, math.ceil(math.log2(reach / (_HALF * cell.scale))))


def _index_scale(reach: float, ceiling: float, unit: float | None) -> float:
    """A step of a table over +-reach, or +-ceiling if that is less; the next 2^n times ``unit`` where one is given."""
    scale = min(max(reach, SMALLEST_REACH), ceiling) / (_HALF - 1)
    return scale if unit is None else unit * 2.0 ** math.ceil(math.log2(scale / unit))


def _entries(function: str, index_scale: float, scale: float, low: int, high: int) -> NDArray[np.int16]:
    """``function`` over a signed index of 12 bits, rounded half away from zero."""
    real = index_scale * (np.arange(2 * _HALF) - _HALF)
    entries = round_half_away(FUNCTIONS[function](real.astype(np.float64)) / scale)
    kept: NDArray[np.int16] = np.clip(entries, low, high).astype(np.int16)
    return kept
