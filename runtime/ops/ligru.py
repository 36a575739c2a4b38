"""LiGRU: a whole light gated recurrent layer (a minimal gated unit), from integers to integers."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.accumulator import gru_reach
from qdeploy.runtime.loop_products import LoopProducts
from qdeploy.runtime.numeric import (
    IntArray,
    check_int32,
    check_range,
    exact_matmul,
    requantize,
)
from qdeploy.runtime.ops.loop_weights import check_loop_weights
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import count_saturated
from qdeploy.runtime.ops.sequence import check_sequence

GATE_BITS = 15
"""Of the gate after the point: 2^15 would be one, and the largest that int16 holds is 2^15 - 1."""

DRIVE_LIMIT = 2**29
"""What the input's part is clipped to."""

MAX_CANDIDATE_SHIFT = 46

LIMITS = {
    "input_shift": 30,
    "shift": 30,
    "gate_shift": 15,
    "candidate_multiplier": 2**31 - 1,
    "candidate_shift": MAX_CANDIDATE_SHIFT,
    "slope": 2**15 - 1,
    "state_shift": 14,
}
"""The largest values of attributes; the least is 0."""

_TABLE_SIZES = tuple(2**n for n in range(1, 13))


@operator("LiGRU", outputs=("y", "y_h"))
def ligru(
    node: Node,
    x: IntArray,
    h0: IntArray,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    input_multiplier: IntArray,
    multiplier: IntArray,
    sigmoid_table: IntArray,
    candidate_table: IntArray | None = None,
    *,
    x_zero_point: int,
    h_zero_point: int,
    input_shift: int,
    shift: int,
    gate_shift: int,
    candidate_multiplier: int,
    candidate_shift: int,
    slope: int,
    state_shift: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """[a; z] = W h_{t-1} + U x_t + b; h_t = sigmoid(z) h_{t-1} + (1 - sigmoid(z)) act(a), act a rectifier or tanh.

    Rows of both weights are those of the candidate a and of the update gate z, H each. With round(v / 2^s) =
    floor((v + 2^(s-1)) / 2^s), nothing being added for s = 0, and clipped to what stands in brackets:

        u_t = round((U (x_t - x_zero_point) + bias) input_multiplier / 2^input_shift)              [-2^29, 2^29]
        r   = round((W (h_{t-1} - h_zero_point) + u_t) multiplier / 2^shift)                       [-2^15, 2^15 - 1]
        g   = sigmoid_table[round(r_z / 2^gate_shift) + S/2]                                       index [0, S - 1]
        m   = round(r_a candidate_multiplier / 2^candidate_shift)
        n   = candidate_table[m + S'/2]                                                            index [0, S' - 1]
              or, without that table, max(m, round(m slope / 2^15))                     [-2^15, 2^15 - 2^state_shift]
        h_t = round(((2^15 - g) n + g (h_{t-1} - h_zero_point) 2^state_shift) / 2^(15 + state_shift)) + h_zero_point
                                                                                                   [low, high]

    A rectifier's candidate may lie far beyond the states, of which it is mixed into for some part only.

    Args:
        x: uint8 or int16 ``[T, B, I]``, T >= 1.
        h0: the state before the first step, ``[B, H]``, uint8 or int16, in [low, high].
        input_weight: int8 ``[2H, I]``, U.
        recurrent_weight: int8 ``[2H, H]``, W.
        bias: int32 ``[2H]``, at the scale of U (x - x_zero_point).
        input_multiplier: int32 ``[1]`` or ``[2H]``, not negative; it brings U x + b to the scale of W h.
        multiplier: int32 ``[1]`` or ``[2H]``, not negative.
        sigmoid_table: int16 ``[S]``, S = 2^k, k <= 12, entries not negative: Q0.15.
        candidate_table: int16 ``[S']``, S' as S, entries up to 2^15 - 2^state_shift: tanh, at the state's scale over
            2^state_shift.
        x_zero_point, h_zero_point: zero points; the state's is also what a zero state holds.
        input_shift, shift: 0 to 30.
        gate_shift: 0 to 15.
        candidate_multiplier: 0 to 2^31 - 1; without a table it brings r_a to the state's scale over 2^state_shift.
        candidate_shift: 0 to 46.
        slope: of the rectifier below zero, Q0.15: 0 is ReLU. 0 to 2^15 - 1; 0 beside a table.
        state_shift: 0 to 14; the state's range times 2^state_shift fits int16.
        low, high: inclusive bounds of the state.
        dtype: ONNX element type of the state: 2 uint8, 5 int16.

    Returns:
        y ``[T, B, H]``, every state; y_h ``[B, H]``, the last one. N calls of one step, one call of N steps and any
        split between give the same bits, and a batch gives the bits of its sequences alone.

    Source: Ravanelli et al., "Light gated recurrent units for speech recognition", arXiv 1803.10225, equations 7 to 9, batch
    normalization folded. With tanh it is the minimal gated unit without its gate on the recurrent product.
    """
    constants = node.cache.get("constants")
    if constants is None:
        given = (input_shift, shift, gate_shift, candidate_multiplier, candidate_shift, slope, state_shift)
        for name, value in zip(LIMITS, given, strict=True):
            most = 0 if name == "slope" and candidate_table is not None else LIMITS[name]
            node.require(0 <= value <= most, f"{name} is {value}; expected 0 to {most}.")
        least, largest = (low - h_zero_point) << state_shift, (high - h_zero_point) << state_shift
        node.require(-(2**15) <= least < largest < 2**15, f"the state's range, {least} to {largest}, leaves int16.")
        _check_table(node, "sigmoid_table", sigmoid_table, 0, 2**15 - 1)
        if candidate_table is not None:
            _check_table(node, "candidate_table", candidate_table, -(2**15), 2**15 - (1 << state_shift))
        constants = node.cache["constants"] = _checked(
            node,
            x_largest=max(x_zero_point, 255 - x_zero_point) if x.dtype == np.uint8 else 2**15,
            h_largest=max(abs(low - h_zero_point), abs(high - h_zero_point)),
            input_weight=input_weight,
            recurrent_weight=recurrent_weight,
            bias=bias,
            input_multiplier=input_multiplier,
            multiplier=multiplier,
            input_shift=input_shift,
        )
    hidden, inputs = recurrent_weight.shape[1], input_weight.shape[1]
    kind = check_sequence(node, x, h0, hidden=hidden, inputs=inputs, low=low, high=high, dtype=dtype)

    y = np.empty((x.shape[0], x.shape[1], hidden), kind)
    h = h0
    for t in range(x.shape[0]):
        product = exact_matmul(x[t].astype(np.int32) - x_zero_point, constants.input, constants.input_bound) + bias
        centred = h.astype(np.int64) - h_zero_point
        accumulator = exact_matmul(centred, constants.recurrent, constants.recurrent_bound)
        if not constants.proven:
            check_int32(product, f"node {node.name}, input of step {t}")
        accumulator += requantize(product, input_multiplier, input_shift, 0, -DRIVE_LIMIT, DRIVE_LIMIT)
        if not constants.proven:
            check_int32(accumulator, f"node {node.name}, step {t}")
        rows = requantize(accumulator, multiplier, shift, 0, -(2**15), 2**15 - 1)
        half = sigmoid_table.size // 2
        update = sigmoid_table[requantize(rows[:, hidden:], 1, gate_shift, half, 0, 2 * half - 1)].astype(np.int64)
        wide = rows[:, :hidden]
        if candidate_table is None:
            scaled = requantize(wide, candidate_multiplier, candidate_shift, 0, -(2**46), 2**46)
            rectified = np.maximum(scaled, requantize(scaled, slope, 15, 0, -(2**46), 2**46))
            candidate = np.clip(rectified, -(2**15), 2**15 - (1 << state_shift))
        else:
            half = candidate_table.size // 2
            index = requantize(wide, candidate_multiplier, candidate_shift, half, 0, 2 * half - 1)
            candidate = candidate_table[index].astype(np.int64)
        mixed = ((1 << GATE_BITS) - update) * candidate + update * (centred << state_shift)
        h = y[t]
        h[...] = requantize(mixed, 1, GATE_BITS + state_shift, h_zero_point, low, high)
    count_saturated(node, y, h_zero_point, low, high)
    return y, y[-1].copy()


def _check_table(node: Node, name: str, table: IntArray, low: int, high: int) -> None:
    node.require_dtype(name, table, np.int16)
    node.require(table.ndim == 1 and table.size in _TABLE_SIZES, f"{name} has shape {list(table.shape)}.")
    check_range(table, low, high, f"node {node.name}, {name}")


def _checked(
    node: Node,
    *,
    x_largest: int,
    h_largest: int,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    input_multiplier: IntArray,
    multiplier: IntArray,
    input_shift: int,
) -> LoopProducts:
    """Checks the constants against the contract and derives what the loop needs of them."""
    hidden = check_loop_weights(node, 2, input_weight=input_weight, recurrent_weight=recurrent_weight, bias=bias)
    for name, value in (("input_multiplier", input_multiplier), ("multiplier", multiplier)):
        node.require_dtype(name, value, np.int32)
        node.require(value.shape in ((1,), (2 * hidden,)), f"{name} has shape {list(value.shape)}.")
        node.require(int(value.min()) >= 0, f"{name} has an entry of {int(value.min())}; expected 0 or more.")
    reach = gru_reach(
        recurrent_weight=recurrent_weight,
        input_weight=input_weight,
        bias=bias,
        recurrent_bias=bias[:0],
        state=h_largest,
        x=x_largest,
        input_multiplier=input_multiplier,
        input_shift=input_shift,
        drive_limit=DRIVE_LIMIT,
    )
    return LoopProducts.of(recurrent_weight, input_weight, h_largest=h_largest, x_largest=x_largest, reach=reach)
