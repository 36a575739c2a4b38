"""FastGRNN: a gated recurrent layer whose gate and candidate share their matrices, from integers to integers."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.fast_loop import FastLoop, next_state, table_index
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import count_saturated
from qdeploy.runtime.ops.sequence import check_sequence


@operator("FastGRNN", outputs=("y", "y_h"))
def fast_grnn(
    node: Node,
    x: IntArray,
    h0: IntArray,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    input_multiplier: IntArray,
    index_shift: IntArray,
    gate_table: IntArray,
    added_table: IntArray,
    candidate_table: IntArray,
    factor: IntArray | None = None,
    *,
    x_zero_point: int,
    h_zero_point: int,
    input_shift: int,
    factor_shift: int,
    state_shift: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """h_t = (zeta (1 - z) + nu) n + z h_{t-1}, z = act_g(a_t + b_g), n = act(a_t + b_u), a_t = W h_{t-1} + U x_t.

    The two constants are in the tables: h_t = A + z (h_{t-1} - B), A = (zeta + nu) n and B = zeta n. With
    round(a / 2^s) = floor((a + 2^(s-1)) / 2^s), nothing being added for s = 0::

        u_t    = clip(round(U (x_t - z_x) input_multiplier / 2^input_shift), int32)
        a_t    = W (h_{t-1} - z_h) + u_t
        i ; j  = clip(round(([a_t; a_t] + bias) / 2^index_shift) + S/2, 0, S - 1)
        z      = gate_table[i]                                                          Q0.14
        s      = added_table[j] + z ((h_{t-1} - z_h) 2^a - candidate_table[j])          a = state_shift
        h_t    = clip(round(s / 2^(14 + a)) + z_h, low, high)

    With a ``factor``, F, W is of low rank and W (h - z_h) is W (q - 128), with
    q = clip(round(F (h - z_h) / 2^factor_shift) + 128, 0, 255).

    Args:
        x: uint8 or int16 ``[T, B, I]``, T >= 1.
        h0: the state before the first step, ``[B, H]``, uint8 or int16, in [low, high].
        input_weight: int8 ``[H, I]``, U.
        recurrent_weight: int8 ``[H, H]``, W; ``[H, R]`` with a factor.
        bias: int32 ``[2H]``, those of the gate and of the candidate, at the scale of a_t.
        input_multiplier: int32 ``[1]`` or ``[H]``.
        index_shift: int32 ``[2H]``, 0 to 30.
        gate_table: int16 ``[S]``, S = 2^n, n <= 12: act_g, which may be negative, and is below 2. Tables of 2^n + 1 entries
            stand for S = 2^12, with straight lines between their entries: see ``fast_loop.table_entries``.
        added_table: int32 ``[S]``: (zeta + nu) act, at the state's scale over 2^(14 + a).
        candidate_table: int16 ``[S]``: zeta act, at the state's scale over 2^a.
        factor: int8 ``[R, H]``.
        x_zero_point, h_zero_point: zero points; the state's is also what a zero state holds.
        input_shift, factor_shift: 0 to 30.
        state_shift: 0 to 14.
        low, high: inclusive bounds of the state.
        dtype: ONNX element type of the state: 2 uint8, 5 int16.

    Returns:
        y ``[T, B, H]``, every state; y_h ``[B, H]``, the last one. N calls of one step, one call of N steps and any
        split between give the same bits, and a batch gives the bits of its sequences alone.

    Source: Kusupati et al., NeurIPS 2018, equation 4; FastGRNNCell of the authors' code, which has U for W and W for U.
    """
    loop = node.cache.get("loop")
    if loop is None:
        loop = node.cache["loop"] = FastLoop.checked(
            node,
            x=x,
            x_zero_point=x_zero_point,
            h_zero_point=h_zero_point,
            low=low,
            high=high,
            input_weight=input_weight,
            recurrent_weight=recurrent_weight,
            bias=bias,
            biases=2,
            input_multiplier=input_multiplier,
            input_shift=input_shift,
            index_shift=index_shift,
            factor=factor,
            factor_shift=factor_shift,
            state_shift=state_shift,
            tables={"gate_table": gate_table, "added_table": added_table, "candidate_table": candidate_table},
            kept=int(np.abs(gate_table.astype(np.int64)).max()),
        )
    hidden, inputs = input_weight.shape
    kind = check_sequence(node, x, h0, hidden=hidden, inputs=inputs, low=low, high=high, dtype=dtype)

    gates, added, candidates = (loop.tables[name] for name in ("gate_table", "added_table", "candidate_table"))
    y = np.empty((x.shape[0], x.shape[1], hidden), kind)
    h = h0
    for t in range(x.shape[0]):
        centred = h.astype(np.int64) - h_zero_point
        sums = loop.recalled(centred, factor_shift) + loop.driven(x[t], x_zero_point, input_multiplier, input_shift)
        index = table_index(np.concatenate([sums, sums], axis=-1) + bias, index_shift, gates.size)
        place = index[:, hidden:]
        mixed = added[place] + gates[index[:, :hidden]] * ((centred << state_shift) - candidates[place])
        h = y[t]
        h[...] = next_state(mixed, state_shift, h_zero_point, low, high)
    count_saturated(node, y, h_zero_point, low, high)
    return y, y[-1].copy()
