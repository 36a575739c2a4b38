"""RNN: scales of a recurrent loop, so that one accumulator serves W h and U x and one requantization closes it.

Let s_W, s_U, s_x, s_h be the scales of W, U, the input and the state. The accumulator has the finer of s_W s_h and
s_U s_x, which differ by a power of two:

- U on a grid that it was trained on: s_U is given, so s_h = 2^a s_U s_x / s_W with the smallest a that covers the
  states. With s_x a power of two this is s_h = A 2^-(p-1) alpha_U / alpha_W of Foucault et al. (arXiv 2402.04012).
- U free: s_h is as tight as the range allows, and s_U = 2^a s_W s_h / s_x with the smallest a that covers U.
- tanh fixes s_h; a U on a grid then passes a requantization before the loop.

ReLU, modReLU and the linear recurrence are positively homogeneous: the loop's gain is s_W, whatever s_h is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration import initial_cell_state, initial_state
from qdeploy.quantize import builtin_kernels, builtin_loop
from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.loop_state import hand_over_state, wanted_states
from qdeploy.quantize.lowerings.quaternion_rows import store_weight, weight_record
from qdeploy.quantize.lowerings.recurrent_weight import (
    DRIVE_BITS,
    GRID_DRIVE_BITS,
    MAX_RECURRENT_SHIFT,
    free_lift,
    recurrent_weight,
)
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.lowerings.stored_table import stored_table
from qdeploy.quantize.lowerings.table import INDEX_BITS, round_half_away
from qdeploy.quantize.multiplier import Multiplier, choose_multiplier
from qdeploy.quantize.orthogonality import Orthogonality
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.state_range import StateRange
from qdeploy.quantize.tensor_type import TensorType, with_power_of_two_scale
from qdeploy.quantize.weights import QuantizedWeight, check_finite, on_scale, quantize_weight
from qdeploy.runtime.accumulator import INT32_REACH, recurrent_reach
from qdeploy.runtime.errors import AccumulatorOverflowError, UnsupportedModelError

MAX_INPUT_SHIFT = 24


@dataclass(frozen=True)
class _Loop:
    """What the loop's integers follow from."""

    recurrent: QuantizedWeight
    input: QuantizedWeight
    state: TensorType
    accumulator_scale: NDArray[np.float64]
    input_shift: int
    recurrent_shift: int
    input_multiplier: Multiplier | None


@lowers("RNN")
def rnn(context: Context, node: onnx.NodeProto) -> None:
    """Quantizes one recurrent layer; its state becomes an input and an output of the network."""
    graph, recipe, floats = context.integers, context.recipe, context.floats
    activation = str(attribute(node, "activation"))
    x = context.type_of(node.input[0])
    weights = [floats.constant(node, index, what) for index, what in ((1, "input weight"), (2, "recurrent weight"))]
    bias = floats.constant(node, 3, "bias").astype(np.float64)
    check_finite(bias.astype(np.float32), f"{node.name}.bias")
    states = node.output[0] or f"{node.output[1]}/states"
    homogeneous = activation != "tanh"
    seen = context.calibration[states]
    if activation == "relu" and seen.low < 0:
        raise UnsupportedModelError(
            f"node {node.name}: its initial state ({initial_state(node)}) reaches {seen.low:.4g}, and states after ReLU have no "
            "sign; give calibration samples whose initial states are not negative, as those that the network itself makes."
        )
    # tanh stays within 1; an initial state of the user's may lie beyond it.
    ranges = StateRange(
        seen, recipe, activation != "relu", bound=math.inf if homogeneous else max(1.0, -seen.low, seen.high)
    )
    reason = builtin_loop.hindrance(activation, x, ranges.free())
    exact = builtin_kernels.wanted(recipe) and reason is None
    if homogeneous:
        loop = _homogeneous(weights, bias, recipe, x, ranges, node, exact=exact)
    else:
        loop = _fixed_state(weights, bias, recipe, x, ranges, node)
    steps = max(1, context.calibration.steps)
    index_scale = 1.0
    table: NDArray[np.float64] | None = None
    if not homogeneous:
        before = context.calibration[f"{states}/pre_activation"]
        unit = float(loop.accumulator_scale.min()) if recipe.multiplier_bits == 1 else None
        index_scale, table = _tanh_table(loop.state, max(-before.low, before.high), unit)
    # The ratio is the loop's gain: computed from s_W alone, it is the same float whatever s_h is.
    ratio = loop.recurrent.scale / 2.0**loop.recurrent_shift if homogeneous else loop.accumulator_scale / index_scale
    multiplier = choose_multiplier(ratio, recipe.multiplier_bits, node.name)
    gain_error = math.expm1(steps * math.log1p(multiplier.error))
    if recipe.multiplier_bits == 15 and homogeneous and gain_error > recipe.max_gain_error:
        multiplier = choose_multiplier(ratio, 31, node.name)
        gain_error = math.expm1(steps * math.log1p(multiplier.error))
    multiplier = multiplier.as_shift()

    scale = np.broadcast_to(loop.accumulator_scale, bias.shape)
    integer_bias = np.rint(bias / scale)
    rectifier_bias = None
    if activation == "modrelu":
        rectifier_bias = np.rint(floats.constant(node, 4, "modReLU bias") / scale)
    reach = _prove(node.name, loop, x, integer_bias, rectifier_bias)
    kernel = builtin_loop.LoopKernel(None, reason=reason)
    if exact:
        kernel = builtin_loop.loop_kernel(
            ratio,
            node.name,
            recurrent_weight=loop.recurrent.integers,
            recurrent_shift=loop.recurrent_shift,
            input_weight=loop.input.integers,
            input_shift=loop.input_shift,
            requantized_input=loop.input_multiplier is not None,
            reach=reach,
        )
        if kernel.multiplier is not None:
            multiplier = kernel.multiplier.as_shift()
            gain_error = math.expm1(steps * math.log1p(multiplier.error))
    kernels = builtin_loop.record(recipe, kernel)

    name = node.name
    state_in, state_out = state_tensors(context, node)
    inputs = [
        node.input[0],
        state_in,
        store_weight(context, node.input[1], loop.input),
        store_weight(context, node.input[2], loop.recurrent),
        graph.constant(f"{name}.bias", integer_bias.astype(np.int32), bits=32, scale=loop.accumulator_scale),
        graph.constant(f"{name}.multiplier", multiplier.values, bits=32),
        "",
        "",
        "",
    ]
    if rectifier_bias is not None:
        inputs[6] = graph.constant(
            f"{name}.modrelu_bias", rectifier_bias.astype(np.int32), bits=32, scale=loop.accumulator_scale
        )
    if table is not None:
        inputs[7] = stored_table(graph, f"{name}.table", table.astype(loop.state.dtype), loop.state.bits)
    input_shift = loop.input_shift
    if loop.input_multiplier is not None:
        inputs[8] = graph.constant(f"{name}.input_multiplier", loop.input_multiplier.values, bits=32)
        input_shift = loop.input_multiplier.shift
    graph.node(
        "RNN",
        inputs,
        [wanted_states(context, node), state_out],
        name,
        activation="table" if table is not None else activation,
        x_zero_point=x.zero_point,
        h_zero_point=loop.state.zero_point,
        input_shift=input_shift,
        recurrent_shift=loop.recurrent_shift,
        shift=multiplier.shift,
        low=loop.state.low,
        high=loop.state.high,
        dtype=loop.state.onnx_type,
        **{key: value for key, value in kernels.items() if key == "rounding"},
    )
    hand_over_state(context, node, (state_in, state_out), loop.state, loop.recurrent.integers.shape[0])
    graph.layers.append(
        {
            "name": name,
            "operator": "RNN",
            "activation": activation,
            "exact_grid": loop.recurrent.exact_grid and loop.input.exact_grid,
            "shaped_rounding": loop.recurrent.shaped,
            "weight_error": max(loop.recurrent.error, loop.input.error),
            "activation_bits": x.bits,
            "state_bits": loop.state.bits,
            "macs": int(weights[0].size + weights[1].size),
            "accumulator_bits": accumulator_bits(int(reach.max())),
            "multiplier_bits": int(multiplier.values.max()).bit_length(),
            "multiplier_error": multiplier.error,
            "calibrated_steps": steps,
            "gain_error": gain_error,
            **kernels,
            **weight_record(context, {node.input[1]: loop.input, node.input[2]: loop.recurrent}),
            **ranges.report(loop.state),
            **_orthogonality(weights[1], loop.recurrent),
        }
    )


def state_tensors(context: Context, node: onnx.NodeProto, *, cell: bool = False) -> tuple[str, str]:
    """The names of the graph's state input, which is h0, and of its state output; with ``cell``, of LSTM's cell state.

    A zero state becomes an input of its own; an initial state that the float model takes as an input stays that input.
    """
    graph, floats = context.integers, context.floats
    what, place = ("cell", 2) if cell else ("state", 1)
    initial = initial_cell_state(node) if cell else initial_state(node)
    if initial and floats.input_behind(initial) is None:
        raise UnsupportedModelError(
            f"node {node.name}: its initial {what} ({initial}) is computed by the network; expected zeros or an input of "
            "the network."
        )
    last = node.output[place] if len(node.output) > place else ""
    state_out = last if last in floats.outputs else graph.fresh(f"{node.name}_{what}_out")
    return initial or graph.fresh(f"{node.name}_{what}"), state_out


def _homogeneous(
    weights: list[NDArray[np.float32]],
    bias: NDArray[np.float64],
    recipe: Recipe,
    x: TensorType,
    ranges: StateRange,
    node: onnx.NodeProto,
    *,
    exact: bool,
) -> _Loop:
    """Scales of a loop whose activation is positively homogeneous: the state's scale is free.

    ``exact``: a scale of W is wanted that is an exact multiplier in single precision.
    """
    tight = ranges.free()
    least = _least_scale(weights[0], bias, x, tight)
    recurrent = recurrent_weight(weights[1], recipe, node, least, exact=exact)
    given = quantize_weight(weights[0], recipe, node.input[1], granularity="per_tensor")
    if given.exact_grid and recurrent.scale.size == 1:
        unit = given.scale[0] * x.scale / recurrent.scale[0]
        exponent = ranges.octave(unit)
        if -16 <= exponent <= MAX_RECURRENT_SHIFT:
            return _shifted_input(recurrent, given, _with_scale(tight, unit * 2.0**exponent), x, exponent)
        if recipe.multiplier_bits == 1:
            tight = _with_scale(tight, unit * 2.0**exponent)
    if given.exact_grid:
        return _requantized_input(recurrent, given, tight, x, recipe, node, least)
    return _free_input(recurrent, weights[0], tight, x, recipe)


def _fixed_state(
    weights: list[NDArray[np.float32]],
    bias: NDArray[np.float64],
    recipe: Recipe,
    x: TensorType,
    ranges: StateRange,
    node: onnx.NodeProto,
) -> _Loop:
    """Scales of a tanh loop: the state's range is -1 to 1, or less by the rules that look at samples."""
    state = ranges.free()
    least = _least_scale(weights[0], bias, x, state)
    recurrent = recurrent_weight(weights[1], recipe, node, least)
    given = quantize_weight(weights[0], recipe, node.input[1], granularity="per_tensor")
    if given.exact_grid and recipe.multiplier_bits == 1 and recurrent.scale.size == 1:
        # No multiplier before the loop either: the state's scale becomes a power of two times s_U s_x / s_W.
        unit = given.scale[0] * x.scale / recurrent.scale[0]
        state = with_power_of_two_scale(state, unit)
        return _shifted_input(recurrent, given, state, x, round(math.log2(state.scale / unit)))
    if given.exact_grid:
        return _requantized_input(recurrent, given, state, x, recipe, node, least)
    return _free_input(recurrent, weights[0], state, x, recipe)


def _least_scale(weight: NDArray[np.float32], bias: NDArray[np.float64], x: TensorType, state: TensorType) -> float:
    """The finest s_W at which the loop's drive, U x + b, has DRIVE_BITS bits of the accumulator.

    A recurrent weight that vanishes beside the drive would otherwise lift it out of int32.
    """
    check_finite(weight, "input weight")
    drive = np.abs(weight.astype(np.float64)).sum(axis=1) * x.scale * (x.high - x.low) + np.abs(bias)
    return float(drive.max() / (state.scale * 2.0**DRIVE_BITS))


def _free_input(
    recurrent: QuantizedWeight, weight: NDArray[np.float32], state: TensorType, x: TensorType, recipe: Recipe
) -> _Loop:
    """U at 2^a s_W s_h / s_x, with the smallest a that covers it.

    A negative a would make the accumulator's unit finer than s_W s_h. As far as the lifted W stays in bytes that costs
    nothing; beyond, where U x is finer than the accumulator (few bits in the state, many in the input), it is shifted right
    with one rounding before the loop, so that U keeps its bits.
    """
    check_finite(weight, "input weight")
    top = max(1, 2 ** (recipe.weight_bits - 1) - 1)
    unit = recurrent.scale * state.scale / x.scale
    largest = np.abs(weight.astype(np.float64)).max(axis=1, initial=0.0)
    needed = (
        np.maximum(largest, 1e-30) / top / unit
        if unit.size > 1
        else np.array([max(largest.max(), 1e-30) / top / unit[0]])
    )
    exponent = math.ceil(math.log2(needed.max()) - 1e-9)
    lift = free_lift(recurrent)
    if exponent + lift < -MAX_INPUT_SHIFT:
        # Such a U x is nothing beside a unit of the accumulator.
        exponent = -lift
    quantized = on_scale(weight, np.broadcast_to(unit * 2.0**exponent, weight.shape[:1]), recipe.weight_bits)
    scale = quantized.scale if unit.size > 1 else quantized.scale[:1]
    quantized = QuantizedWeight(quantized.integers, scale, quantized.bits, False, quantized.error)
    lift = min(lift, max(0, -exponent))
    finest = recurrent.scale * state.scale / 2.0**lift
    right = -exponent - lift
    shifted_right = Multiplier(np.array([1], np.int32), right, 0.0) if right > 0 else None
    return _Loop(recurrent, quantized, state, finest, max(0, exponent), lift, shifted_right)


def _shifted_input(
    recurrent: QuantizedWeight, given: QuantizedWeight, state: TensorType, x: TensorType, exponent: int
) -> _Loop:
    """U keeps its grid, and s_W s_h = 2^exponent s_U s_x: shifts bring both products to the finer scale."""
    finest = given.scale * x.scale * 2.0 ** min(exponent, 0)
    return _Loop(recurrent, given, state, finest, max(0, -exponent), max(0, exponent), None)


def _requantized_input(
    recurrent: QuantizedWeight,
    given: QuantizedWeight,
    state: TensorType,
    x: TensorType,
    recipe: Recipe,
    node: onnx.NodeProto,
    least: float,
) -> _Loop:
    """U keeps its grid; U x is brought to the accumulator's scale by a multiplier, before the loop."""
    bits = 1 if recipe.multiplier_bits == 1 else 31
    # No further than the drive, of DRIVE_BITS at a scale of ``least``, has GRID_DRIVE_BITS.
    room = float(recurrent.scale.min()) / least * 2.0 ** (GRID_DRIVE_BITS - DRIVE_BITS) if least > 0 else math.inf
    lift = free_lift(recurrent)
    while lift > 0 and 2.0**lift > room:
        lift -= 1
    accumulator = recurrent.scale * state.scale / 2.0**lift
    multiplier = choose_multiplier(given.scale * x.scale / accumulator, bits, node.name, max_shift=30)
    return _Loop(recurrent, given, state, accumulator, 0, lift, multiplier)


def _with_scale(tight: TensorType, scale: float) -> TensorType:
    return TensorType(tight.dtype, float(scale), tight.zero_point, tight.bits, tight.low, tight.high)


def _tanh_table(state: TensorType, reach: float, unit: float | None) -> tuple[float, NDArray[np.float64]]:
    """The index's scale and the entries: tanh over +-reach, or over where it bends if that is less.

    Where multipliers are powers of two, ``unit`` is the accumulator's scale, of which the index's is the next 2^n times.
    """
    # Beyond this the entries do not change: tanh is within half a step of 1, or the state's range ends.
    ceiling = state.scale * (state.high - state.zero_point)
    flat = math.atanh(min(1 - 2.0 ** -(state.bits + 1), ceiling))
    half = 2 ** (INDEX_BITS - 1)
    index_scale = min(reach, flat) / (half - 1) if reach > 0 else 1.0 / half
    if unit is not None:
        index_scale = unit * 2.0 ** math.ceil(math.log2(index_scale / unit))
    real = index_scale * (np.arange(2 * half) - half)
    entries = round_half_away(np.tanh(real) / state.scale) + state.zero_point
    return index_scale, np.clip(entries, state.low, state.high)


def _prove(
    name: str, loop: _Loop, x: TensorType, bias: NDArray[np.float64], rectifier_bias: NDArray[np.float64] | None
) -> NDArray[np.object_]:
    """The largest accumulator of each unit over all inputs and states, Python integers ``[H]``.

    Raises:
        AccumulatorOverflowError: when int32 cannot hold it.
    """
    largest_bias = np.abs(bias) + (0 if rectifier_bias is None else np.abs(rectifier_bias))
    reach: NDArray[np.object_]
    if largest_bias.max() >= INT32_REACH:
        reach = largest_bias.astype(object)
    else:
        requantized = loop.input_multiplier
        reach = recurrent_reach(
            recurrent_weight=loop.recurrent.integers,
            input_weight=loop.input.integers,
            bias=bias,
            state=max(loop.state.high - loop.state.zero_point, loop.state.zero_point - loop.state.low),
            x=x.reach,
            recurrent_shift=loop.recurrent_shift,
            input_shift=loop.input_shift if requantized is None else requantized.shift,
            input_multiplier=None if requantized is None else requantized.values,
            modrelu_bias=rectifier_bias,
        )
    if reach.max() >= INT32_REACH:
        unit = int(reach.argmax())
        raise AccumulatorOverflowError(
            f"node {name}: the accumulator of unit {unit} could reach {float(reach[unit]):.4g}, more than int32 holds (2.147e9); "
            "use fewer state bits (--state-bits) or fewer weight bits."
        )
    return reach


def _orthogonality(weight: NDArray[np.float32], deployed: QuantizedWeight) -> dict[str, Any]:
    """What a layer's record says of W W^T, in float and as deployed."""
    scale = np.broadcast_to(deployed.scale, weight.shape[:1])[:, None]
    record: dict[str, Any] = {}
    for kind, matrix in (("float", weight), ("integer", deployed.integers * scale)):
        found = Orthogonality.of(matrix)
        record[f"orthogonality_{kind}"] = found.spectral
        record[f"orthogonality_frobenius_{kind}"] = found.frobenius
        record[f"singular_values_{kind}"] = [found.smallest, found.largest]
    return record
