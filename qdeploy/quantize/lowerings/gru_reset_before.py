"""GRUResetBefore: scales of a gated loop with two products a step.

Let s_W, s_U, s_x, s_h be the scales of a row of W, of U, of the input and of the state. U x + b is brought to s_W s_h before
the loop, and every sum to the index of its table: that of sigmoid in the rows of r and z, that of tanh in those of n. What
the reset gate leaves of the state has the state's scale. The table of tanh has the state's scale over 2^a, the finest
that int16 holds.

``per_tensor`` means one scale a gate. Then what closes the sums are shifts, as in GRU: the tables' steps are powers of two
times the sums' unit, and so has U x, of which a row loses less than a bit. Weights of few bits and trained grids keep their
scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

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
from qdeploy.runtime.ops.gru_reset_before import GATE_BITS


@dataclass(frozen=True)
class _Scales:
    """What the loop's integers follow from; weights have a scale a row.

    ``shifts``: powers of two close the sums; ``input_shifts``: and bring U x + b to them.
    """

    input: QuantizedWeight
    recurrent: QuantizedWeight
    gate_index: float
    candidate_index: float
    shifts: bool
    input_shifts: bool


@lowers("GRUResetBefore")
def gru_reset_before(context: Context, node: onnx.NodeProto) -> None:
    """Quantizes one layer; its state becomes an input and an output of the network."""
    graph, recipe, floats = context.integers, context.recipe, context.floats
    x, name = context.type_of(node.input[0]), node.name
    bias = floats.constant(node, 3, "bias")
    check_finite(bias, f"{name}.bias")
    hidden = len(bias) // 3
    states = node.output[0] or f"{node.output[1]}/states"
    seen = context.calibration[states]
    # A state stays within 1 unless an initial one of the user's lies beyond it.
    ranges = StateRange(seen, recipe, True, bound=max(1.0, -seen.low, seen.high))
    state = ranges.free()
    scales = _scales(context, node, x, state, states)
    state_shift = GATE_BITS + 1 - state.bits

    product = scales.input.scale * x.scale
    accumulator = scales.recurrent.scale * state.scale
    before_loop = product / accumulator
    in_loop = accumulator / np.repeat([scales.gate_index, scales.candidate_index], [2 * hidden, hidden])
    input_multiplier = choose_multiplier(
        exact_powers(before_loop) if scales.input_shifts else before_loop, 1 if scales.input_shifts else 31, name, 30
    )
    multiplier = choose_multiplier(
        exact_powers(in_loop) if scales.shifts else in_loop, 1 if scales.shifts else recipe.multiplier_bits, name, 30
    )
    integer_bias = np.rint(bias / product)
    reach = prove(
        name,
        scales.recurrent,
        scales.input,
        state,
        x,
        integer_bias,
        integer_bias[:0],
        input_multiplier,
    )
    state_in, state_out = state_tensors(context, node)
    sigmoids, tanhs = tables(state, scales.gate_index, scales.candidate_index, state_shift)
    graph.node(
        "GRUResetBefore",
        [
            node.input[0],
            state_in,
            store_weight(context, node.input[1], scales.input),
            store_weight(context, node.input[2], scales.recurrent),
            graph.constant(f"{name}.bias", integer_bias.astype(np.int32), bits=32, scale=product),
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
        state_shift=state_shift,
        low=state.low,
        high=state.high,
        dtype=state.onnx_type,
    )
    hand_over_state(context, node, (state_in, state_out), state, hidden)
    graph.layers.append(
        {
            "name": name,
            "operator": "GRUResetBefore",
            "activation": "sigmoid, tanh",
            "exact_grid": scales.recurrent.exact_grid and scales.input.exact_grid,
            "weight_error": max(scales.recurrent.error, scales.input.error),
            "activation_bits": x.bits,
            "state_bits": state.bits,
            "macs": int(scales.input.integers.size + scales.recurrent.integers.size),
            "accumulator_bits": accumulator_bits(reach),
            "multiplier_bits": int(multiplier.values.max()).bit_length(),
            "multiplier_error": max(input_multiplier.error, multiplier.error),
            "calibrated_steps": max(1, context.calibration.steps),
            **weight_record(context, {node.input[1]: scales.input, node.input[2]: scales.recurrent}),
            **ranges.report(state),
        }
    )


def _scales(context: Context, node: onnx.NodeProto, x: TensorType, state: TensorType, states: str) -> _Scales:
    """Weights on their scales, and what calibration says of the sums."""
    floats, recipe = context.floats, context.recipe
    weights = [floats.constant(node, index, what) for index, what in ((1, "input weight"), (2, "recurrent weight"))]
    bias = np.abs(floats.constant(node, 3, "bias").astype(np.float64))
    check_finite(weights[0], node.input[1])
    drive = np.abs(weights[0].astype(np.float64)).sum(axis=1) * x.scale * x.reach + bias
    # Neither the bias nor U x + b at the sums' scale may take the room of the products.
    limits = bias / (x.scale * 2.0**DRIVE_BITS), drive / (state.scale * 2.0**DRIVE_BITS)
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
    half = 2 ** (INDEX_BITS - 1)
    finest = 2.0 ** -(GATE_BITS + 1)
    ceiling = min(1.0 - finest, state.scale * (state.high - state.zero_point))
    indices: list[float] = []
    for what, flat in (("gates", math.log((1.0 - finest) / finest)), ("candidate", math.atanh(ceiling))):
        found = context.calibration[f"{states}/{what}"]
        reach = (SHIFT_HEADROOM if shifts else HEADROOM) * max(-found.low, found.high)
        indices.append(min(max(reach, SMALLEST_REACH), flat) / (half - 1))
    gate_index, candidate_index = indices
    if not shifts:
        return _Scales(given, recurrent, gate_index, candidate_index, shifts=False, input_shifts=False)
    accumulator = recurrent.scale * state.scale
    # z's unit is r's times or over a power of two.
    units: tuple[NDArray[np.float64], ...] = accumulator[[0, len(bias) // 3]], accumulator[-1:]
    gate_index, candidate_index = (
        table_power_of_two(least, float(unit.max()))
        for least, unit in zip((gate_index, candidate_index), units, strict=True)
    )
    if (given.exact_grid or given.bits < FREE_SCALE_BITS) and recipe.multiplier_bits > 1:
        return _Scales(given, recurrent, gate_index, candidate_index, shifts=True, input_shifts=False)
    raised = 2.0 ** np.maximum(0.0, np.ceil(np.log2(given.scale * x.scale / accumulator) - 1e-9))
    given = on_scale(weights[0], raised * accumulator / x.scale, given.bits)
    return _Scales(given, recurrent, gate_index, candidate_index, shifts=True, input_shifts=True)
