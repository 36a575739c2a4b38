"""GRU: a whole gated recurrent layer, from integers to integers."""

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
"""Of a gate after the point: 2^15 would be one, and the largest that int16 holds is 2^15 - 1."""

DRIVE_LIMIT = 2**29
"""What the input's part is clipped to: with a Q0.15 gate times 16 bits and the table's middle it stays in int32."""

MAX_CANDIDATE_SHIFT = 17
"""Of an index of 12 bits, whose middle is then at most 2^28."""

_TABLE_SIZES = tuple(2**n for n in range(1, 13))


@operator("GRU", outputs=("y", "y_h"))
def gru(
    node: Node,
    x: IntArray,
    h0: IntArray,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    recurrent_bias: IntArray,
    input_multiplier: IntArray,
    multiplier: IntArray,
    sigmoid_table: IntArray,
    tanh_table: IntArray,
    *,
    x_zero_point: int,
    h_zero_point: int,
    input_shift: int,
    shift: int,
    candidate_shift: int,
    state_shift: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """r, z = sigmoid(W h_{t-1} + U x_t + b); n = tanh(r (W h_{t-1} + c) + U x_t + b); h_t = (1 - z) n + z h_{t-1}.

    Rows of both weights are those of the reset gate r, the update gate z and the candidate n, H each: torch's order. All
    quotients are rounded half up, [low, high] says what a result is clipped to, and sums are exact::

        u_t = (U (x_t - x_zero_point) + bias) input_multiplier / 2^input_shift     [-2^29, 2^29], all rows
        a_t = W (h_{t-1} - h_zero_point)
        i   = (a_t + u_t) multiplier / 2^shift + S/2                               [0, S - 1], rows of r and z
        r, z = sigmoid_table[i]                                                    Q0.15
        m   = (a_t + recurrent_bias) multiplier / 2^shift                          [-2^15, 2^15 - 1], rows of n
        j   = (r m + u_t) / 2^candidate_shift + S'/2                               [0, S' - 1]
        n   = tanh_table[j]
        s   = (2^15 - z) n + z (h_{t-1} - h_zero_point) 2^state_shift
        h_t = s / 2^(15 + state_shift) + h_zero_point                              in [low, high] by itself

    Args:
        x: uint8 or int16 ``[T, B, I]``, T >= 1.
        h0: the state before the first step, ``[B, H]``, uint8 or int16, in [low, high].
        input_weight: int8 ``[3H, I]``, U.
        recurrent_weight: int8 ``[3H, H]``, W.
        bias: int32 ``[3H]``, at the scale of U (x - x_zero_point).
        recurrent_bias: int32 ``[H]``, at the scale of a_t: what the reset gate multiplies as well.
        input_multiplier: int32 ``[3H]``, not negative. It brings r and z to the scale of a_t, n to 2^-15 of that of m.
        multiplier: int32 ``[3H]``, not negative.
        sigmoid_table: int16 ``[S]``, S = 2^k, k <= 12, entries not negative: Q0.15.
        tanh_table: int16 ``[S']``, S' as S, entries in [(low - h_zero_point) 2^state_shift,
            (high - h_zero_point) 2^state_shift]: the state's scale over 2^state_shift.
        x_zero_point, h_zero_point: zero points; the state's is also what a zero state holds.
        input_shift, shift: 0 to 30.
        candidate_shift: 0 to 17.
        state_shift: 0 to 14; the state's range times 2^state_shift fits int16.
        low, high: inclusive bounds of the state.
        dtype: ONNX element type of the state: 2 uint8, 5 int16.

    Returns:
        y ``[T, B, H]``, every state; y_h ``[B, H]``, the last one. N calls of one step, one call of N steps and any
        split between give the same bits, and a batch gives the bits of its sequences alone.

    The float layer is torch.nn.GRU, and ONNX GRU with linear_before_reset = 1 and its gates (z, r, h) in another order.
    """
    constants = node.cache.get("constants")
    if constants is None:
        for name, value, most in (
            ("input_shift", input_shift, 30),
            ("shift", shift, 30),
            ("candidate_shift", candidate_shift, MAX_CANDIDATE_SHIFT),
            ("state_shift", state_shift, 14),
        ):
            node.require(0 <= value <= most, f"{name} is {value}; expected 0 to {most}.")
        least, largest = (low - h_zero_point) << state_shift, (high - h_zero_point) << state_shift
        node.require(-(2**15) <= least < largest < 2**15, f"the state's range, {least} to {largest}, leaves int16.")
        _check_tables(node, sigmoid_table, tanh_table, least, largest)
        constants = node.cache["constants"] = _checked(
            node,
            x_largest=max(x_zero_point, 255 - x_zero_point) if x.dtype == np.uint8 else 2**15,
            h_largest=max(abs(low - h_zero_point), abs(high - h_zero_point)),
            input_weight=input_weight,
            recurrent_weight=recurrent_weight,
            bias=bias,
            recurrent_bias=recurrent_bias,
            input_multiplier=input_multiplier,
            multiplier=multiplier,
            input_shift=input_shift,
        )
    hidden, inputs = recurrent_weight.shape[1], input_weight.shape[1]
    kind = check_sequence(node, x, h0, hidden=hidden, inputs=inputs, low=low, high=high, dtype=dtype)

    gates = slice(None, 2 * hidden)
    candidates = slice(2 * hidden, None)
    y = np.empty((x.shape[0], x.shape[1], hidden), kind)
    h = h0
    for t in range(x.shape[0]):
        product = exact_matmul(x[t].astype(np.int32) - x_zero_point, constants.input, constants.input_bound) + bias
        centred = h.astype(np.int64) - h_zero_point
        accumulator = exact_matmul(centred, constants.recurrent, constants.recurrent_bound)
        if not constants.proven:
            check_int32(product, f"node {node.name}, input of step {t}")
        driven = requantize(product, input_multiplier, input_shift, 0, -DRIVE_LIMIT, DRIVE_LIMIT)
        before = accumulator[:, gates] + driven[:, gates]
        reset = accumulator[:, candidates] + recurrent_bias
        if not constants.proven:
            check_int32(before, f"node {node.name}, gates of step {t}")
            check_int32(reset, f"node {node.name}, candidate of step {t}")
        size = sigmoid_table.size
        opened = sigmoid_table[requantize(before, multiplier[gates], shift, size // 2, 0, size - 1)].astype(np.int64)
        r, z = opened[:, :hidden], opened[:, hidden:]
        recalled = requantize(reset, multiplier[candidates], shift, 0, -(2**15), 2**15 - 1)
        size = tanh_table.size
        index = requantize(r * recalled + driven[:, candidates], 1, candidate_shift, size // 2, 0, size - 1)
        mixed = ((1 << GATE_BITS) - z) * tanh_table[index] + z * (centred << state_shift)
        h = y[t]
        h[...] = requantize(mixed, 1, GATE_BITS + state_shift, h_zero_point, low, high)
    count_saturated(node, y, h_zero_point, low, high)
    return y, y[-1].copy()


def _check_tables(node: Node, sigmoid_table: IntArray, tanh_table: IntArray, least: int, largest: int) -> None:
    for name, table, low, high in (
        ("sigmoid_table", sigmoid_table, 0, 2**15 - 1),
        ("tanh_table", tanh_table, least, largest),
    ):
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
    recurrent_bias: IntArray,
    input_multiplier: IntArray,
    multiplier: IntArray,
    input_shift: int,
) -> LoopProducts:
    """Checks the constants against the contract and derives what the loop needs of them."""
    hidden = check_loop_weights(node, 3, input_weight=input_weight, recurrent_weight=recurrent_weight, bias=bias)
    for name, value, size in (
        ("recurrent_bias", recurrent_bias, hidden),
        ("input_multiplier", input_multiplier, 3 * hidden),
        ("multiplier", multiplier, 3 * hidden),
    ):
        node.require_dtype(name, value, np.int32)
        node.require_shape(name, value, size)
        if name.endswith("multiplier"):
            node.require(int(value.min()) >= 0, f"{name} has an entry of {int(value.min())}; expected 0 or more.")
    reach = gru_reach(
        recurrent_weight=recurrent_weight,
        input_weight=input_weight,
        bias=bias,
        recurrent_bias=recurrent_bias,
        state=h_largest,
        x=x_largest,
        input_multiplier=input_multiplier,
        input_shift=input_shift,
        drive_limit=DRIVE_LIMIT,
    )
    return LoopProducts.of(recurrent_weight, input_weight, h_largest=h_largest, x_largest=x_largest, reach=reach)
