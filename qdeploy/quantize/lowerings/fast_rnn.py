"""FastRNN and FastGRNN: scales of loops of one pre-activation, closed by shifts alone.

The pre-activation has the scale s_W s_h of each row (behind a factor of low rank, s_W s_q). The steps of the tables are powers
of two times it, and so is s_U s_x, whose rows lose less than a bit; on trained grids and with few bits U x is requantized
before the loop instead. What the tables add to the kept state is at the state's scale over 2^(14 + a), the finest that int32
holds: alpha, zeta and nu cost neither an operation nor a rounding of their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.loop_state import hand_over_state, wanted_states
from qdeploy.quantize.lowerings.quaternion_rows import weight_record
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.rnn import state_tensors
from qdeploy.quantize.lowerings.table import INDEX_BITS, round_half_away
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.state_range import StateRange
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight, check_finite, on_scale, quantize_weight
from qdeploy.runtime.accumulator import INT32_REACH
from qdeploy.runtime.errors import AccumulatorOverflowError, UnsupportedModelError
from qdeploy.runtime.fast_loop import GATE_BITS, mix_reach, pre_activation_reach

HEADROOM = 1.1
"""How far beyond what calibration saw a table reaches at least, unless it is flat there."""

SMALLEST_REACH = 1.0
"""Tables reach at least so far: a finer step than 2^-11 gains nothing, and bodies hold one entry for every index there can be."""

FREE_SCALE_BITS = 6
"""Weights of so many bits bear that U's scales are rounded up to powers of two of the pre-activation's."""

LARGEST_GATE = 2.0
"""Gates are below it: 16 bits with 14 of them after the point."""

MAX_STATE_SHIFT = 14

_HALF = 1 << (INDEX_BITS - 1)
_DOUBLINGS = 40

_FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    # A table may reach far beyond where exp overflows, when the sums have a huge unit.
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(np.minimum(-x, 700.0))),
    "tanh": lambda x: np.tanh(x),  # noqa: PLW0108 - a ufunc has a wider type than this table
    "relu": lambda x: np.maximum(x, 0.0),
    "quant_sigmoid": lambda x: np.clip((x + 1) / 2, 0.0, 1.0),
    "quant_tanh": lambda x: np.clip(x, -1.0, 1.0),
}
_FLAT_FROM = {"sigmoid": math.log(2.0**15), "tanh": math.atanh(1 - 2.0**-15), "quant_sigmoid": 1.0, "quant_tanh": 1.0}
"""Beyond this the entries do not change: within 2^-15 of their limits."""
_SIGNED = ("tanh", "quant_tanh")
_KINKED = ("quant_sigmoid", "quant_tanh")
"""They have kinks at -1 and 1."""

KINK_APART = 16
"""Straight lines of so many indices may end at a kink."""


@dataclass(frozen=True)
class _Loop:
    """What the loop's integers follow from. ``unit`` ``[H]`` is the pre-activation's scale."""

    recurrent: QuantizedWeight
    factor: QuantizedWeight | None
    factor_shift: int
    input: QuantizedWeight
    input_multiplier: NDArray[np.int32]
    input_shift: int
    unit: NDArray[np.float64]
    bias: NDArray[np.int32]
    index_scales: list[float]
    index_shift: NDArray[np.int32]
    reach: int


@lowers("FastRNN", "FastGRNN")
def fast_rnn(context: Context, node: onnx.NodeProto) -> None:
    """Quantizes one layer; its state becomes an input and an output of the network."""
    graph, recipe, floats, name = context.integers, context.recipe, context.floats, node.name
    gated = node.op_type == "FastGRNN"
    activation = str(attribute(node, "activation"))
    x = context.type_of(node.input[0])
    mix = floats.constant(node, 4, "mix").astype(np.float64)
    states = node.output[0] or f"{node.output[1]}/states"
    seen = context.calibration[states]
    gate = str(attribute(node, "gate")) if gated else ""
    ranges = StateRange(seen, recipe, activation in _SIGNED or gate in _SIGNED or seen.low < 0)
    if gate == "relu":
        _check_relu_gate(name, context.calibration[f"{states}/gates"].high)
    state = ranges.free()
    if gated:
        least = float(mix[0]) * _largest_fresh(context, activation, states) / (2**15 - 1)
        state = dataclasses.replace(state, scale=max(state.scale, least))
    loop = _loop(context, node, x, state, states)
    kinked = [
        scale
        for kind, scale in zip((gate, activation)[-len(loop.index_scales) :], loop.index_scales, strict=True)
        if kind in _KINKED
    ]
    if kinked and recipe.state_range != "power-of-two":
        state = _kinks_at_entries(state, max(kinked))
        loop = _loop(context, node, x, state, states)
    state_shift, tables, kept = _tables(node, state, loop.index_scales, mix)
    mixed = mix_reach(
        tables,
        kept,
        state=max(state.high - state.zero_point, state.zero_point - state.low),
        offset=state.zero_point - state.low,
        state_shift=state_shift,
    )
    if mixed >= INT32_REACH:
        raise AccumulatorOverflowError(
            f"node {name}: the next state's sum could reach {mixed:.4g}, more than int32 holds (2.147e9); use fewer state bits "
            "(--state-bits)."
        )

    inputs = [
        node.input[0],
        "",
        graph.weight(node.input[1], loop.input),
        graph.weight(node.input[2], loop.recurrent),
        graph.constant(f"{name}.bias", loop.bias, bits=32, scale=np.tile(loop.unit, len(loop.index_scales))),
        graph.constant(f"{name}.input_multiplier", loop.input_multiplier, bits=32),
        graph.constant(f"{name}.index_shift", loop.index_shift, bits=32),
        *(graph.constant(f"{name}.{key}", table, bits=8 * table.itemsize) for key, table in tables.items()),
        "" if loop.factor is None else graph.weight(node.input[5], loop.factor),
    ]
    names = state_tensors(context, node)
    inputs[1] = names[0]
    attributes = {} if gated else {"kept": kept}
    graph.node(
        node.op_type,
        inputs,
        [wanted_states(context, node), names[1]],
        name,
        x_zero_point=x.zero_point,
        h_zero_point=state.zero_point,
        input_shift=loop.input_shift,
        factor_shift=loop.factor_shift,
        **attributes,
        state_shift=state_shift,
        low=state.low,
        high=state.high,
        dtype=state.onnx_type,
    )
    hand_over_state(context, node, names, state, len(loop.unit))
    weights = {node.input[1]: loop.input, node.input[2]: loop.recurrent}
    if loop.factor is not None:
        weights[node.input[5]] = loop.factor
    graph.layers.append(
        {
            "name": name,
            "operator": node.op_type,
            "activation": f"{gate}, {activation}" if gated else activation,
            "rank": None if loop.factor is None else len(loop.factor.integers),
            "exact_grid": all(weight.exact_grid for weight in weights.values()),
            "weight_error": max(weight.error for weight in weights.values()),
            "activation_bits": x.bits,
            "state_bits": state.bits,
            "macs": int(sum(weight.integers.size for weight in weights.values())),
            "accumulator_bits": accumulator_bits(loop.reach),
            "calibrated_steps": max(1, context.calibration.steps),
            **weight_record(context, weights),
            **ranges.report(state),
        }
    )


def _kinks_at_entries(state: TensorType, step: float) -> TensorType:
    """The state with a scale at most 1/63 larger, with which the sums 1 and -1 are entries of tables, not between two.

    Args:
        step: of the tables with kinks.

    Every scale of the loop is the state's times what does not depend on it, so that the indices' steps grow alike. A table of
    straight lines then is exact, where otherwise it needs the entries of one in two indices.
    """
    indices = 1.0 / step
    whole = math.floor(indices / KINK_APART) * KINK_APART
    return dataclasses.replace(state, scale=state.scale * indices / whole) if whole >= 63 * KINK_APART else state


def _check_relu_gate(name: str, largest: float) -> None:
    """Refuses what the table of gates cannot hold; the other nonlinearities stay within 1."""
    if largest >= LARGEST_GATE:
        raise UnsupportedModelError(
            f"node {name}: its ReLU gate reaches {largest:.4g} in calibration, and the operator holds gates below "
            f"{LARGEST_GATE:g}; a gate above 1 makes states grow from step to step: train it with sigmoid or quantSigm."
        )


def _loop(context: Context, node: onnx.NodeProto, x: TensorType, state: TensorType, states: str) -> _Loop:
    """Weights, scales and shifts; rows of W are held coarser until int32 has room for all that drives them.

    Raises:
        AccumulatorOverflowError: where it never has.
    """
    floats, recipe = context.floats, context.recipe
    input_float = floats.constant(node, 1, "input weight")
    recurrent_float = floats.constant(node, 2, "recurrent weight")
    bias = floats.constant(node, 3, "bias").astype(np.float64)
    for array, what in ((input_float, node.input[1]), (bias.astype(np.float32), f"{node.name}.bias")):
        check_finite(array, what)
    factor, factor_shift, given_scale = _factor(context, node, state, states)
    granularity = recipe.recurrent_granularity
    recurrent = quantize_weight(recurrent_float, recipe, node.input[2], granularity=granularity, power_of_two=True)
    if recurrent.scale.size > 1 or not recurrent.exact_grid:
        # One scale of our own needs to be no power of two; rows that differ are powers of two apart.
        free = quantize_weight(recurrent_float, recipe, node.input[2], granularity="per_tensor")
        if recurrent.scale.size == 1:
            recurrent = free
        else:
            octaves = recurrent.scale / recurrent.scale.max()
            recurrent = on_scale(recurrent_float, octaves * free.scale[0], recipe.weight_bits)
    free_input = quantize_weight(input_float, recipe, node.input[1], granularity=recipe.weight_granularity)
    shifts_only = recipe.multiplier_bits == 1 or (not free_input.exact_grid and free_input.bits >= FREE_SCALE_BITS)
    hidden = len(input_float)
    reach = 0
    for _ in range(_DOUBLINGS):
        unit = np.broadcast_to(recurrent.scale, hidden) * given_scale
        index_scales = _index_scales(context, node, states, float(unit.max()))
        ratios = np.concatenate([scale / unit for scale in index_scales])
        index_shift = np.rint(np.log2(ratios)).astype(np.int32)
        given, ratio = free_input, free_input.scale * x.scale / unit
        if shifts_only:
            raised = 2.0 ** np.maximum(0.0, np.ceil(np.log2(ratio) - 1e-9))
            given, ratio = on_scale(input_float, raised * unit / x.scale, free_input.bits), raised
        integer_bias = np.rint(bias / np.tile(unit, len(index_scales)))
        fits = np.abs(integer_bias).max() < INT32_REACH and ratio.max() < 2.0**30 and index_shift.max() <= 30
        if fits:
            multiplier = choose_multiplier(ratio, 1 if shifts_only else 31, node.name, 30)
            values = np.ascontiguousarray(np.broadcast_to(multiplier.values, hidden))
            reach = pre_activation_reach(
                input_weight=given.integers,
                recurrent_weight=recurrent.integers,
                bias=integer_bias,
                x=x.reach,
                state=max(state.high - state.zero_point, state.zero_point - state.low),
                input_multiplier=values,
                input_shift=multiplier.shift,
                index_shift=index_shift,
                factor=None if factor is None else factor.integers,
                factor_shift=factor_shift,
                size=2 * _HALF,
            )
            if reach < INT32_REACH:
                return _Loop(
                    recurrent,
                    factor,
                    factor_shift,
                    given,
                    values,
                    multiplier.shift,
                    unit,
                    integer_bias.astype(np.int32),
                    index_scales,
                    index_shift,
                    reach,
                )
        recurrent = on_scale(recurrent_float, np.broadcast_to(2 * recurrent.scale, hidden), recurrent.bits)
    raise AccumulatorOverflowError(
        f"node {node.name}: its pre-activation could reach {float(reach):.4g}, more than int32 holds (2.147e9), however coarse "
        "its recurrent weight; check the calibration samples and the input weight."
    )


def _factor(
    context: Context, node: onnx.NodeProto, state: TensorType, states: str
) -> tuple[QuantizedWeight | None, int, float]:
    """The first factor of a W of low rank, its shift, and the scale of what W multiplies."""
    if attribute(node, "rank") != "low":
        return None, 0, state.scale
    weight = context.floats.constant(node, 5, "factor")
    factor = quantize_weight(weight, context.recipe, node.input[5], granularity="per_tensor")
    seen = context.calibration[f"{states}/factor"]
    unit = float(factor.scale[0]) * state.scale
    wanted = HEADROOM * max(-seen.low, seen.high, unit) / 127
    shift = max(0, min(30, math.ceil(math.log2(wanted / unit))))
    return factor, shift, unit * 2.0**shift


def _index_scales(context: Context, node: onnx.NodeProto, states: str, unit: float) -> list[float]:
    """The steps of the tables, of the gate's first: powers of two times ``unit``, 1 at least."""
    parts = (
        [("gates", "gate"), ("candidate", "activation")]
        if node.op_type == "FastGRNN"
        else [("candidate", "activation")]
    )
    scales = []
    for part, kind in parts:
        seen = context.calibration[f"{states}/{part}"]
        reach = max(HEADROOM * max(-seen.low, seen.high), SMALLEST_REACH)
        reach = min(reach, _FLAT_FROM.get(str(attribute(node, kind)), math.inf))
        scales.append(unit * 2.0 ** max(0, math.ceil(math.log2(reach / (_HALF - 1) / unit) - 1e-9)))
    return scales


def _knots(
    functions: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]], index_scales: list[float]
) -> NDArray[np.float64]:
    """The fewest indices between which straight lines come as near to every function as the index's own rounding does."""
    every = np.arange(-_HALF, _HALF).astype(np.float64)
    curves = [function(every * scale) for function, scale in zip(functions, index_scales, strict=True)]
    for apart in (2**n for n in range(INDEX_BITS - 1, 0, -1)):
        index = np.arange(-_HALF, _HALF + 1, apart).astype(np.float64)
        errors = (
            (np.abs(np.interp(every, index, function(index * scale)) - curve).max(), np.abs(np.diff(curve)).max() / 2)
            for function, scale, curve in zip(functions, index_scales, curves, strict=True)
        )
        if all(error <= step for error, step in errors):
            return index
    return every


def _largest_fresh(context: Context, activation: str, states: str) -> float:
    """The largest magnitude that the table of ``activation`` can hold: what zeta times it 16 bits must hold."""
    if activation in _FLAT_FROM:
        return 1.0
    seen = context.calibration[f"{states}/candidate"]
    return 2 * max(HEADROOM * max(-seen.low, seen.high), SMALLEST_REACH)


def _tables(
    node: onnx.NodeProto, state: TensorType, index_scales: list[float], mix: NDArray[np.float64]
) -> tuple[int, dict[str, NDArray[np.integer]], int]:
    """a, the tables by the operator's names, and the largest |gate|; a is the largest for which int32 holds the next state."""
    gated = node.op_type == "FastGRNN"
    first, second = (float(value) for value in mix)
    kinds = [str(attribute(node, kind)) for kind in (("gate", "activation") if gated else ("activation",))]
    functions = [_FUNCTIONS[kind] for kind in kinds]
    index = _knots(functions, index_scales)
    fresh = functions[-1](index * index_scales[-1])
    kept = round(second * 2.0**GATE_BITS)
    tables: dict[str, NDArray[np.integer]] = {}
    if gated:
        gate = functions[0](index * index_scales[0])
        entries = np.clip(round_half_away(gate * 2.0**GATE_BITS), -(2**15), 2**15 - 1)
        tables["gate_table"] = entries.astype(np.int16)
        kept = int(np.abs(entries).max())
    reach = max(state.high - state.zero_point, state.zero_point - state.low)
    for shift in range(min(MAX_STATE_SHIFT, max(0, 16 - state.bits)), -1, -1):
        scale = state.scale / 2.0**shift
        added = round_half_away((first + second if gated else first) * fresh / (scale / 2.0**GATE_BITS))
        tables["added_table"] = np.clip(added, -(2.0**31), 2.0**31 - 1).astype(np.int32)
        if gated:
            candidate = round_half_away(first * fresh / scale)
            if np.abs(candidate).max() >= 2**15:
                continue
            tables["candidate_table"] = candidate.astype(np.int16)
        offset = state.zero_point - state.low
        if mix_reach(tables, kept, state=reach, offset=offset, state_shift=shift) < INT32_REACH:
            return shift, tables, kept
    if "candidate_table" not in tables and gated:
        raise AccumulatorOverflowError(
            f"node {node.name}: its candidate reaches {float(np.abs(first * fresh).max() / state.scale):.4g} steps of the state, "
            "more than 16 bits hold; its states are far smaller than its activation, which needs fewer state bits (--state-bits)."
        )
    return 0, tables, kept
