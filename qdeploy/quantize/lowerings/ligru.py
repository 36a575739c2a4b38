"""LiGRU: scales of a loop with one gate, whose rows need shifts alone.

Let s_W, s_U, s_x, s_h be the scales of W, of a row of U, of the input and of the state. U x + b is brought to s_W s_h before the
loop. Candidate and gate have rows of 16 bits; what a unit of them means is free, because both are looked up, so that it is
a power of two times s_W s_h where W has one scale, over at least what counts of what calibration saw:

- of the gate, as far as the sigmoid is not flat;
- of a tanh, as far as it is not flat;
- of a rectifier's candidate all, for it may lie far beyond the states.

The candidate gets the state's scale over 2^a, the finest at which int16 holds what counts of it; the mix of candidate and
state is a convex combination of integers of one scale. Where not even the state's own scale leaves room (a state of 16 bits),
that becomes coarser.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.loop_state import hand_over_state, wanted_states
from qdeploy.quantize.lowerings.quaternion_rows import shared_by_quaternion, store_weight, weight_record
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.rnn import state_tensors
from qdeploy.quantize.lowerings.stored_table import stored_table
from qdeploy.quantize.lowerings.table import INDEX_BITS, round_half_away
from qdeploy.quantize.multiplier import Multiplier, choose_multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.state_range import StateRange
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight, check_finite, on_scale, powers_of_two, quantize_weight
from qdeploy.runtime.accumulator import INT32_REACH, gru_reach
from qdeploy.runtime.errors import AccumulatorOverflowError
from qdeploy.runtime.ops.ligru import DRIVE_LIMIT, GATE_BITS, MAX_CANDIDATE_SHIFT

DRIVE_BITS = 28
"""What is added to a product of weights has so many of an accumulator's 31 bits at most; else its row is coarsened."""

HEADROOM = 1.25
"""How far beyond what calibration saw rows of 16 bits reach, unless nothing changes there."""

ROW_BITS = 15
"""Of a candidate's or a gate's row, beside the sign."""

MAX_SHIFT = 30

SLOPE_BITS = 15

_HALF = 1 << (INDEX_BITS - 1)


@dataclass(frozen=True)
class _Rows:
    """How an accumulator becomes rows: units of candidate and gate, the multiplier with its shift."""

    candidate_unit: float
    gate_unit: float
    multiplier: Multiplier


@lowers("LiGRU")
def ligru(context: Context, node: onnx.NodeProto) -> None:
    """Quantizes one layer; its state becomes an input and an output of the network."""
    graph, recipe, floats, name = context.integers, context.recipe, context.floats, node.name
    x = context.type_of(node.input[0])
    input_weight = floats.constant(node, 1, "input weight")
    recurrent_weight = floats.constant(node, 2, "recurrent weight")
    bias = floats.constant(node, 3, "bias").astype(np.float64)
    check_finite(input_weight, node.input[1])
    check_finite(bias.astype(np.float32), f"{name}.bias")
    hidden = recurrent_weight.shape[1]
    rectifier = str(attribute(node, "candidate")) == "rectifier"
    slope = min(2**SLOPE_BITS - 1, round(float(attribute(node, "slope")) * 2**SLOPE_BITS)) if rectifier else 0
    states = node.output[0] or f"{node.output[1]}/states"
    seen = context.calibration[states]
    # A tanh's state stays within 1 unless an initial one of the user's lies beyond it.
    signed = not rectifier or slope > 0 or seen.low < 0
    ranges = StateRange(seen, recipe, signed, math.inf if rectifier else max(1.0, -seen.low, seen.high))
    state, state_shift = _state(ranges.free(), _candidate_reach(context, states, slope) if rectifier else 0.0)

    drive = np.abs(input_weight.astype(np.float64)).sum(axis=1) * x.scale * x.reach + np.abs(bias)
    limits = np.abs(bias) / (x.scale * 2.0**DRIVE_BITS), drive / (state.scale * 2.0**DRIVE_BITS)
    given = _quantized(context, input_weight, node.input[1], recipe.weight_granularity, limits[0])
    recurrent = _quantized(context, recurrent_weight, node.input[2], recipe.recurrent_granularity, limits[1])
    product = np.broadcast_to(given.scale * x.scale, bias.shape)
    accumulator = recurrent.scale * state.scale
    input_multiplier = choose_multiplier(product / accumulator, 31, name, max_shift=30)
    rows = _rows(context, node, accumulator, state, slope=slope, rectifier=rectifier)
    integer_bias = np.rint(bias / product)
    reach = _prove(name, recurrent, given, state, x, integer_bias, input_multiplier)

    gate_shift = _index_shift(_gate_reach(context, states), rows.gate_unit)
    gate_index = rows.gate_unit * 2.0**gate_shift * np.arange(-_HALF, _HALF)
    sigmoids = np.clip(round_half_away(2.0**GATE_BITS / (1.0 + np.exp(-gate_index))), 0, 2**GATE_BITS - 1)
    fine = state.scale / 2.0**state_shift
    candidate_table = ""
    if rectifier:
        scaled = choose_multiplier(rows.candidate_unit / fine, 31, name, max_shift=MAX_CANDIDATE_SHIFT)
        candidate_multiplier, candidate_shift = int(scaled.values[0]), scaled.shift
    else:
        candidate_multiplier, candidate_shift = (
            1,
            _index_shift(_tanh_reach(context, states, state), rows.candidate_unit),
        )
        index = rows.candidate_unit * 2.0**candidate_shift * np.arange(-_HALF, _HALF)
        least, most = ((bound - state.zero_point) << state_shift for bound in (state.low, state.high))
        entries = np.clip(round_half_away(np.tanh(index) / fine), least, most).astype(np.int16)
        candidate_table = stored_table(graph, f"{name}.candidate_table", entries, 16)
    state_in, state_out = state_tensors(context, node)
    graph.node(
        "LiGRU",
        [
            node.input[0],
            state_in,
            store_weight(context, node.input[1], given),
            store_weight(context, node.input[2], recurrent),
            graph.constant(f"{name}.bias", integer_bias.astype(np.int32), bits=32, scale=product),
            graph.constant(f"{name}.input_multiplier", input_multiplier.values, bits=32),
            graph.constant(f"{name}.multiplier", rows.multiplier.values, bits=32),
            stored_table(graph, f"{name}.sigmoid_table", sigmoids.astype(np.int16), 16),
            candidate_table,
        ],
        [wanted_states(context, node), state_out],
        name,
        x_zero_point=x.zero_point,
        h_zero_point=state.zero_point,
        input_shift=input_multiplier.shift,
        shift=rows.multiplier.shift,
        gate_shift=gate_shift,
        candidate_multiplier=candidate_multiplier,
        candidate_shift=candidate_shift,
        slope=slope,
        state_shift=state_shift,
        low=state.low,
        high=state.high,
        dtype=state.onnx_type,
    )
    hand_over_state(context, node, (state_in, state_out), state, hidden)
    graph.layers.append(
        {
            "name": name,
            "operator": "LiGRU",
            "activation": f"sigmoid, {'leaky ReLU' if slope else 'ReLU' if rectifier else 'tanh'}",
            "exact_grid": recurrent.exact_grid and given.exact_grid,
            "weight_error": max(recurrent.error, given.error),
            "activation_bits": x.bits,
            "state_bits": state.bits,
            "macs": int(input_weight.size + recurrent_weight.size),
            "accumulator_bits": accumulator_bits(reach),
            "multiplier_bits": int(rows.multiplier.values.max()).bit_length(),
            "multiplier_error": max(input_multiplier.error, rows.multiplier.error),
            "calibrated_steps": max(1, context.calibration.steps),
            **weight_record(context, {node.input[1]: given, node.input[2]: recurrent}),
            **ranges.report(state),
        }
    )


def _quantized(
    context: Context, weight: NDArray[np.float32], name: str, granularity: str, least: NDArray[np.float64]
) -> QuantizedWeight:
    """The matrix by the recipe, no scale below what its rows' ``least`` ``[2H]`` ask for."""
    recipe: Recipe = context.recipe
    power_of_two = recipe.multiplier_bits == 1
    found = quantize_weight(weight, recipe, name, granularity=granularity, power_of_two=power_of_two)
    needed = least.max(keepdims=True) if found.scale.size == 1 else shared_by_quaternion(context, name, least)
    if (found.scale >= needed).all():
        return found
    scale = np.maximum(found.scale, needed)
    again = on_scale(
        weight, np.broadcast_to(powers_of_two(scale) if power_of_two else scale, least.shape), recipe.weight_bits
    )
    kept = again.scale if scale.size > 1 else again.scale[:1]
    return QuantizedWeight(again.integers, kept, again.bits, False, again.error)


def _rows(
    context: Context,
    node: onnx.NodeProto,
    accumulator: NDArray[np.float64],
    state: TensorType,
    *,
    slope: int,
    rectifier: bool,
) -> _Rows:
    """Units over what counts of the sums; where W has one scale, powers of two times the accumulator's."""
    states = node.output[0] or f"{node.output[1]}/states"
    reaches = (
        _rectified_reach(context, states, slope) if rectifier else _tanh_reach(context, states, state),
        _gate_reach(context, states),
    )
    recipe, hidden = context.recipe, len(context.floats.constant(node, 3, "bias")) // 2
    shifts_only = accumulator.size == 1 or recipe.multiplier_bits == 1
    unit = float(accumulator.min())
    wanted = [reach / (2**ROW_BITS - 1) for reach in reaches]
    if shifts_only:
        wanted = [unit * 2.0 ** min(MAX_SHIFT, max(0, math.ceil(math.log2(one / unit)))) for one in wanted]
    ratio = np.broadcast_to(accumulator, 2 * hidden) / np.repeat(wanted, hidden)
    if shifts_only:
        # Made as powers of two; a division and a product may have moved them by a last bit.
        ratio = 2.0 ** np.rint(np.log2(ratio))
        shift = round(-math.log2(ratio.min()))
        values = (ratio * 2.0**shift).astype(np.int32)
        same = (values == 1).all()
        return _Rows(wanted[0], wanted[1], Multiplier(values[:1] if same else values, shift, 0.0))
    chosen = choose_multiplier(ratio, recipe.multiplier_bits, node.name, max_shift=MAX_SHIFT)
    return _Rows(wanted[0], wanted[1], chosen)


def _gate_reach(context: Context, states: str) -> float:
    """As far as the sigmoid's table changes, and calibration saw."""
    found = context.calibration[f"{states}/gate"]
    finest = 2.0 ** -(GATE_BITS + 1)
    return min(HEADROOM * max(-found.low, found.high), math.log((1.0 - finest) / finest)) or 1.0


def _tanh_reach(context: Context, states: str, state: TensorType) -> float:
    """As far as the table of tanh changes, and calibration saw."""
    found = context.calibration[f"{states}/candidate"]
    ceiling = min(1.0 - 2.0 ** -(GATE_BITS + 1), state.scale * (state.high - state.zero_point))
    return min(HEADROOM * max(-found.low, found.high), math.atanh(ceiling)) or 1.0


def _rectified_reach(context: Context, states: str, slope: int) -> float:
    """As far as calibration saw of a rectifier's operand; without a slope, what is below zero does not count."""
    found = context.calibration[f"{states}/candidate"]
    return HEADROOM * max(found.high, -found.low if slope else 0.0, 0.0) or 1.0


def _candidate_reach(context: Context, states: str, slope: int) -> float:
    """The largest candidate behind a rectifier."""
    found = context.calibration[f"{states}/candidate"]
    return HEADROOM * max(found.high, -found.low * slope / 2.0**SLOPE_BITS, 0.0)


def _state(tight: TensorType, candidate: float) -> tuple[TensorType, int]:
    """The state's type, and the a for which its scale over 2^a holds state and candidate in int16."""
    shift = GATE_BITS - (tight.high - tight.zero_point).bit_length()
    while shift > 0 and candidate > tight.scale / 2.0**shift * (2**GATE_BITS - 2**shift):
        shift -= 1
    least = candidate / (2**GATE_BITS - 1)
    return (dataclasses.replace(tight, scale=least) if tight.scale < least else tight), shift


def _index_shift(reach: float, unit: float) -> int:
    """By how much a row is shifted to be the index of a table over ``reach``."""
    return min(ROW_BITS, max(0, math.ceil(math.log2(reach / (unit * (_HALF - 1))))))


def _prove(
    name: str,
    recurrent: QuantizedWeight,
    given: QuantizedWeight,
    state: TensorType,
    x: TensorType,
    bias: NDArray[np.float64],
    input_multiplier: Multiplier,
) -> int:
    """The largest accumulator over all inputs and states.

    Raises:
        AccumulatorOverflowError: when int32 cannot hold it.
    """
    reach = gru_reach(
        recurrent_weight=recurrent.integers,
        input_weight=given.integers,
        bias=bias,
        recurrent_bias=bias[:0],
        state=max(state.high - state.zero_point, state.zero_point - state.low),
        x=x.reach,
        input_multiplier=input_multiplier.values,
        input_shift=input_multiplier.shift,
        drive_limit=DRIVE_LIMIT,
    )
    if reach.max() >= INT32_REACH:
        row = int(reach.argmax())
        raise AccumulatorOverflowError(
            f"node {name}: the accumulator of row {row} could reach {float(reach[row]):.4g}, more than int32 holds "
            "(2.147e9); use fewer state bits (--state-bits) or fewer weight bits."
        )
    return int(reach.max())
