"""GRU: scales of a gated loop, whose gates are Q0.15 and whose mix needs no multiplier.

Let s_W, s_U, s_x, s_h be the scales of a row of W, of U, of the input and of the state:

- rows of r and z: U x + b is brought to s_W s_h before the loop, and the sum to the index of the sigmoid's table;
- rows of n: W h + c is brought to m, 16 bits over at least twice what calibration saw of it, and U x + b to 2^-15 of m's
  scale, where it meets the product with the reset gate, which is Q0.15. That scale is a power of two below the one of the
  index of tanh's table, so that a shift closes the sum;
- the table of tanh has the state's scale over 2^a, the finest that int16 holds: the mix of candidate and state is a
  convex combination of integers of one scale, and never leaves the state's range.

``per_tensor`` means one scale a gate. Then what closes the sums are shifts: the steps of the tables and of m, which are
free, are powers of two times the sums' unit; z has the scale of r over a power of two, and so has U x, of which a row loses
less than a bit. Bodies need no multiplier then. Weights of few bits and trained grids keep their scales.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import onnx

from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.gru_scales import (
    DRIVE_BITS,
    FREE_SCALE_BITS,
    HEADROOM,
    SHIFT_HEADROOM,
    SMALLEST_REACH,
    exact_powers,
    for_all_rows,
    prove,
    quantized_gates,
    related_gates,
    table_power_of_two,
    tables,
)
from qdeploy.quantize.lowerings.loop_state import hand_over_state, wanted_states
from qdeploy.quantize.lowerings.quaternion_rows import shared_by_quaternion, store_weight, weight_record
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.rnn import state_tensors
from qdeploy.quantize.lowerings.stored_table import stored_table
from qdeploy.quantize.lowerings.table import INDEX_BITS
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.state_range import StateRange
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight, check_finite, on_scale
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops.gru import DRIVE_LIMIT, GATE_BITS, MAX_CANDIDATE_SHIFT

RECALLED_HEADROOM = 2.0
"""The same of W h + c, which has 16 bits: one of them, as outputs of a network have."""


@dataclass(frozen=True)
class _Scales:
    """What the loop's integers follow from; weights have a scale a row.

    ``shifts``: powers of two close the sums; ``input_shifts``: and bring U x + b to them.
    """

    input: QuantizedWeight
    recurrent: QuantizedWeight
    state: TensorType
    gate_index: float
    recalled: float
    candidate_shift: int
    shifts: bool
    input_shifts: bool

    @property
    def gated(self) -> float:
        """The scale of what the reset gate gives: that of m, times Q0.15."""
        return self.recalled / 2.0**GATE_BITS

    @property
    def candidate_index(self) -> float:
        """The scale of the index of tanh's table."""
        return self.gated * 2.0**self.candidate_shift


@lowers("GRU")
def gru(context: Context, node: onnx.NodeProto) -> None:
    """Quantizes one layer; its state becomes an input and an output of the network."""
    graph, recipe, floats = context.integers, context.recipe, context.floats
    x = context.type_of(node.input[0])
    names = ("input weight", "recurrent weight", "bias", "recurrent bias")
    input_weight, recurrent_weight, bias, recurrent_bias = (
        floats.constant(node, index, what) for index, what in enumerate(names, start=1)
    )
    for array, name in ((bias, "bias"), (recurrent_bias, "recurrent_bias")):
        check_finite(array, f"{node.name}.{name}")
    hidden = recurrent_weight.shape[1]
    states = node.output[0] or f"{node.output[1]}/states"
    seen = context.calibration[states]
    # A state stays within 1 unless an initial one of the user's lies beyond it.
    ranges = StateRange(seen, recipe, True, bound=max(1.0, -seen.low, seen.high))
    scales = _scales(context, node, x, ranges.free(), states)
    state = scales.state
    state_shift = GATE_BITS + 1 - state.bits

    product = scales.input.scale * x.scale
    accumulator = scales.recurrent.scale * state.scale
    gates = 2 * hidden
    before_loop = np.concatenate([product[:gates] / accumulator[:gates], product[gates:] / scales.gated])
    in_loop = accumulator / np.concatenate([np.full(gates, scales.gate_index), np.full(hidden, scales.recalled)])
    input_multiplier = choose_multiplier(
        exact_powers(before_loop) if scales.input_shifts else before_loop,
        1 if scales.input_shifts else 31,
        node.name,
        30,
    )
    multiplier = choose_multiplier(
        exact_powers(in_loop) if scales.shifts else in_loop,
        1 if scales.shifts else recipe.multiplier_bits,
        node.name,
        30,
    )
    integer_bias = np.rint(bias / product)
    integer_recurrent_bias = np.rint(recurrent_bias / accumulator[gates:])
    reach = prove(
        node.name,
        scales.recurrent,
        scales.input,
        state,
        x,
        integer_bias,
        integer_recurrent_bias,
        input_multiplier,
    )

    name = node.name
    state_in, state_out = state_tensors(context, node)
    sigmoids, tanhs = tables(state, scales.gate_index, scales.candidate_index, state_shift)
    graph.node(
        "GRU",
        [
            node.input[0],
            state_in,
            store_weight(context, node.input[1], scales.input),
            store_weight(context, node.input[2], scales.recurrent),
            graph.constant(f"{name}.bias", integer_bias.astype(np.int32), bits=32, scale=product),
            graph.constant(
                f"{name}.recurrent_bias",
                integer_recurrent_bias.astype(np.int32),
                bits=32,
                scale=accumulator[gates:],
            ),
            graph.constant(f"{name}.input_multiplier", for_all_rows(input_multiplier, 3 * hidden), bits=32),
            graph.constant(f"{name}.multiplier", for_all_rows(multiplier, 3 * hidden), bits=32),
            stored_table(graph, f"{name}.sigmoid_table", sigmoids, 16),
            stored_table(graph, f"{name}.tanh_table", tanhs, 16),
        ],
        [wanted_states(context, node), state_out],
        name,
        x_zero_point=x.zero_point,
        h_zero_point=state.zero_point,
        input_shift=input_multiplier.shift,
        shift=multiplier.shift,
        candidate_shift=scales.candidate_shift,
        state_shift=state_shift,
        low=state.low,
        high=state.high,
        dtype=state.onnx_type,
    )
    hand_over_state(context, node, (state_in, state_out), state, hidden)
    graph.layers.append(
        {
            "name": name,
            "operator": "GRU",
            "activation": "sigmoid, tanh",
            "exact_grid": scales.recurrent.exact_grid and scales.input.exact_grid,
            "weight_error": max(scales.recurrent.error, scales.input.error),
            "activation_bits": x.bits,
            "state_bits": state.bits,
            "macs": int(input_weight.size + recurrent_weight.size),
            "accumulator_bits": accumulator_bits(reach),
            "multiplier_bits": int(multiplier.values.max()).bit_length(),
            "multiplier_error": max(input_multiplier.error, multiplier.error),
            "calibrated_steps": max(1, context.calibration.steps),
            **weight_record(context, {node.input[1]: scales.input, node.input[2]: scales.recurrent}),
            **ranges.report(state),
        }
    )


def _scales(context: Context, node: onnx.NodeProto, x: TensorType, state: TensorType, states: str) -> _Scales:
    """Weights on their scales, and what calibration says of the three sums."""
    floats, recipe = context.floats, context.recipe
    weights = [floats.constant(node, index, what) for index, what in ((1, "input weight"), (2, "recurrent weight"))]
    bias, recurrent_bias = (np.abs(floats.constant(node, index, "bias").astype(np.float64)) for index in (3, 4))
    check_finite(weights[0], node.input[1])
    gates = len(bias) - len(recurrent_bias)
    drive = np.abs(weights[0].astype(np.float64)).sum(axis=1) * x.scale * x.reach + bias
    beside = np.concatenate([drive[:gates], recurrent_bias])
    # The input's matrix costs the loop nothing whatever its scales are, and so do those of the gates.
    limits = bias / (x.scale * 2.0**DRIVE_BITS), beside / (state.scale * 2.0**DRIVE_BITS)
    given, recurrent = (
        quantized_gates(weight, recipe, name, shared_by_quaternion(context, name, limit))
        for weight, name, limit in zip(weights, node.input[1:3], limits, strict=True)
    )
    related = related_gates(weights[1], recurrent)
    shifts = related is not None
    if related is not None:
        recurrent = related
    elif recipe.multiplier_bits == 1:
        raise UnsupportedModelError(
            f"node {node.name}: multipliers of 1 bit need one scale for each gate of {node.input[2]}, and those of r and z "
            "apart by a power of two; use multipliers of 15 or 31 bits, or recurrent_granularity per_tensor."
        )

    def largest(what: str) -> float:
        found = context.calibration[f"{states}/{what}"]
        return max(-found.low, found.high)

    half = 2 ** (INDEX_BITS - 1)
    finest = 2.0 ** -(GATE_BITS + 1)
    ceiling = min(1.0 - finest, state.scale * (state.high - state.zero_point))
    headroom = SHIFT_HEADROOM if shifts else HEADROOM
    gate = min(max(headroom * largest("gates"), SMALLEST_REACH), math.log((1.0 - finest) / finest))
    candidate = min(max(headroom * largest("candidate"), SMALLEST_REACH), math.atanh(ceiling))
    # Of U x + b the contract holds DRIVE_LIMIT times 2^-15 of m's unit.
    units = (largest("recalled") / (2**15 - 1), largest("driven") * 2.0**GATE_BITS / DRIVE_LIMIT)
    least = RECALLED_HEADROOM * max(units) or candidate / (half - 1)
    index = candidate / (half - 1) * 2.0**GATE_BITS
    if not shifts:
        shift = min(MAX_CANDIDATE_SHIFT, max(0, math.floor(math.log2(index / least))))
        return _Scales(
            given,
            recurrent,
            state,
            gate / (half - 1),
            max(index / 2.0**shift, least),
            shift,
            shifts=False,
            input_shifts=False,
        )
    accumulator = recurrent.scale * state.scale
    # m holds all that W h + c and U x + b can be, where its step stays near that of tanh's index: nothing is clipped then.
    state_reach = max(state.high - state.zero_point, state.zero_point - state.low)
    reach = (np.abs(recurrent.integers[gates:].astype(np.int64)).sum(axis=1) * state_reach + 1) * accumulator[gates:]
    beyond = float(drive[gates:].max()) * 2.0**GATE_BITS / 2**28
    for levels in (2**14, 2**15 - 2):
        whole = max(float((reach + recurrent_bias).max()) / levels, beyond)
        if whole < 2 * candidate / (half - 1):
            least = max(least, whole)
            break
    gate_index = table_power_of_two(gate / (half - 1), float(accumulator[0]))
    recalled = table_power_of_two(least, float(accumulator[gates]))
    shift = min(MAX_CANDIDATE_SHIFT, max(0, math.ceil(math.log2(index / recalled))))
    scales = _Scales(given, recurrent, state, gate_index, recalled, shift, shifts=True, input_shifts=False)
    if (given.exact_grid or given.bits < FREE_SCALE_BITS) and recipe.multiplier_bits > 1:
        return scales
    unit = np.concatenate([accumulator[:gates], np.full(len(recurrent_bias), scales.gated)])
    raised = 2.0 ** np.maximum(0.0, np.ceil(np.log2(given.scale * x.scale / unit) - 1e-9))
    return dataclasses.replace(
        scales, input=on_scale(weights[0], raised * unit / x.scale, given.bits), input_shifts=True
    )
