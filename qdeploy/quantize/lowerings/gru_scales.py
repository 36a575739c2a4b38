"""What the two forms of GRU share: gates' matrices on scales that are related, tables, and the accumulator's proof."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize.lowerings.table import INDEX_BITS, round_half_away
from qdeploy.quantize.multiplier import Multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight, on_scale, quantize_weight
from qdeploy.runtime.accumulator import INT32_REACH, gru_reach
from qdeploy.runtime.errors import AccumulatorOverflowError
from qdeploy.runtime.ops.gru import DRIVE_LIMIT, GATE_BITS

DRIVE_BITS = 28
"""What is added to a product of weights has so many of an accumulator's 31 bits at most; else its row is coarsened."""

HEADROOM = 1.25
"""How far beyond what calibration saw the tables of sigmoid and tanh reach, unless they are flat there."""

SHIFT_HEADROOM = 1.1
"""The same where a power of two above it is what they reach."""

SMALLEST_REACH = 1.0
"""Tables reach at least so far: a finer step than 2^-11 gains nothing, and bodies hold one entry for every index there can be."""

FREE_SCALE_BITS = 6
"""Weights of so many bits bear that U's scales are rounded up to powers of two of the accumulator's."""


def related_gates(weight: NDArray[np.float32], found: QuantizedWeight) -> QuantizedWeight | None:
    """W with one scale a gate, the smaller one of r's and z's raised to a power of two below the other; None if it cannot."""
    parts = np.split(found.scale, 3)
    if any((part != part[0]).any() for part in parts):
        return None
    first, second = float(parts[0][0]), float(parts[1][0])
    largest = max(first, second)
    raised = [largest / 2.0 ** math.floor(math.log2(largest / one) + 1e-9) for one in (first, second)]
    if raised == [first, second]:
        return found
    if found.exact_grid:
        return None
    scale = np.concatenate([np.full_like(parts[0], raised[0]), np.full_like(parts[1], raised[1]), parts[2]])
    return on_scale(weight, scale, found.bits)


def table_power_of_two(least: float, unit: float) -> float:
    """The smallest power of two times ``unit``, 1 at least, that is not below ``least``."""
    return unit * 2.0 ** max(0, math.ceil(math.log2(least / unit) - 1e-9))


def exact_powers(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Powers of two, of which divisions and products may have moved a last bit."""
    exact: NDArray[np.float64] = 2.0 ** np.rint(np.log2(ratio))
    return exact


def quantized_gates(
    weight: NDArray[np.float32], recipe: Recipe, where: str, least: NDArray[np.float64]
) -> QuantizedWeight:
    """Each gate's matrix by the recipe, with a scale a row, none below ``least`` ``[3H]``."""
    parts = [
        quantize_weight(part, recipe, where, granularity=recipe.recurrent_granularity) for part in np.split(weight, 3)
    ]
    rows = len(weight) // 3
    found = QuantizedWeight(
        integers=np.concatenate([part.integers for part in parts]),
        scale=np.concatenate([np.broadcast_to(part.scale, rows) for part in parts]),
        bits=max(part.bits for part in parts),
        exact_grid=all(part.exact_grid for part in parts),
        error=max(part.error for part in parts),
    )
    coarse = least > found.scale
    if not coarse.any():
        return found
    scale = np.maximum(found.scale, least)
    again = on_scale(weight[coarse], scale[coarse], recipe.weight_bits)
    integers = found.integers.copy()
    integers[coarse] = again.integers
    return dataclasses.replace(
        found, integers=integers, scale=scale, exact_grid=False, error=max(found.error, again.error)
    )


def for_all_rows(multiplier: Multiplier, count: int) -> NDArray[np.int32]:
    """One value a row."""
    return np.ascontiguousarray(np.broadcast_to(multiplier.values, count))


def tables(
    state: TensorType, gate_index: float, candidate_index: float, state_shift: int
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """sigmoid in Q0.15, tanh at the state's scale over 2^state_shift."""
    half = 2 ** (INDEX_BITS - 1)
    index = np.arange(-half, half).astype(np.float64)
    gates = round_half_away(2.0**GATE_BITS / (1.0 + np.exp(-index * gate_index)))
    low, high = ((bound - state.zero_point) << state_shift for bound in (state.low, state.high))
    candidates = round_half_away(np.tanh(index * candidate_index) / (state.scale / 2.0**state_shift))
    return np.clip(gates, 0, 2**15 - 1).astype(np.int16), np.clip(candidates, low, high).astype(np.int16)


def prove(
    name: str,
    recurrent: QuantizedWeight,
    given: QuantizedWeight,
    state: TensorType,
    x: TensorType,
    bias: NDArray[np.float64],
    recurrent_bias: NDArray[np.float64],
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
        recurrent_bias=recurrent_bias,
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
