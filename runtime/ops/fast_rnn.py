"""FastRNN: a recurrent layer with a weighted residual connection, from integers to integers."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.fast_loop import FastLoop, next_state, table_index
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import count_saturated
from qdeploy.runtime.ops.sequence import check_sequence


@operator("FastRNN", outputs=("y", "y_h"))
def fast_rnn(
    node: Node,
    x: IntArray,
    h0: IntArray,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    input_multiplier: IntArray,
    index_shift: IntArray,
    added_table: IntArray,
    factor: IntArray | None = None,
    *,
    x_zero_point: int,
    h_zero_point: int,
    input_shift: int,
    factor_shift: int,
    kept: int,
    state_shift: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """h_t = alpha act(a_t + b) + beta h_{t-1}, with a_t = W h_{t-1} + U x_t, alpha in a table and beta in Q0.14.

    With round(a / 2^s) = floor((a + 2^(s-1)) / 2^s), nothing being added for s = 0::

        u_t = clip(round(U (x_t - z_x) input_multiplier / 2^input_shift), int32)
        a_t = W (h_{t-1} - z_h) + u_t
        j   = clip(round((a_t + bias) / 2^index_shift) + S/2, 0, S - 1)
        s   = added_table[j] + kept (h_{t-1} - z_h) 2^a              a = state_shift
        h_t = clip(round(s / 2^(14 + a)) + z_h, low, high)

    With a ``factor``, F, W is of low rank and W (h - z_h) is W (q - 128), with
    q = clip(round(F (h - z_h) / 2^factor_shift) + 128, 0, 255).

    Args:
        x: uint8 or int16 ``[T, B, I]``, T >= 1.
        h0: the state before the first step, ``[B, H]``, uint8 or int16, in [low, high].
        input_weight: int8 ``[H, I]``, U.
        recurrent_weight: int8 ``[H, H]``, W; ``[H, R]`` with a factor.
        bias: int32 ``[H]``, at the scale of a_t.
        input_multiplier: int32 ``[1]`` or ``[H]``.
        index_shift: int32 ``[H]``, 0 to 30.
        added_table: int32 ``[S]``, S = 2^n, n <= 12: alpha act, at the state's scale over 2^(14 + a). One of 2^n + 1 entries
            stands for S = 2^12, with straight lines between its entries: see ``fast_loop.table_entries``.
        factor: int8 ``[R, H]``.
        x_zero_point, h_zero_point: zero points; the state's is also what a zero state holds.
        input_shift, factor_shift: 0 to 30.
        kept: beta in Q0.14, 0 to 2^14.
        state_shift: 0 to 14.
        low, high: inclusive bounds of the state.
        dtype: ONNX element type of the state: 2 uint8, 5 int16.

    Returns:
        y ``[T, B, H]``, every state; y_h ``[B, H]``, the last one. N calls of one step, one call of N steps and any
        split between give the same bits, and a batch gives the bits of its sequences alone.

    Source: Kusupati et al., NeurIPS 2018, equation 2; FastRNNCell of the authors' code, which has U for W and W for U.
    """
    loop = node.cache.get("loop")
    if loop is None:
        node.require(0 <= kept <= 2**14, f"kept is {kept}; expected 0 to 2^14.")
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
            biases=1,
            input_multiplier=input_multiplier,
            input_shift=input_shift,
            index_shift=index_shift,
            factor=factor,
            factor_shift=factor_shift,
            state_shift=state_shift,
            tables={"added_table": added_table},
            kept=kept,
        )
    hidden, inputs = input_weight.shape
    kind = check_sequence(node, x, h0, hidden=hidden, inputs=inputs, low=low, high=high, dtype=dtype)

    table = loop.tables["added_table"]
    y = np.empty((x.shape[0], x.shape[1], hidden), kind)
    h = h0
    for t in range(x.shape[0]):
        centred = h.astype(np.int64) - h_zero_point
        sums = loop.recalled(centred, factor_shift) + loop.driven(x[t], x_zero_point, input_multiplier, input_shift)
        added = table[table_index(sums + bias, index_shift, table.size)]
        h = y[t]
        h[...] = next_state(added + kept * (centred << state_shift), state_shift, h_zero_point, low, high)
    count_saturated(node, y, h_zero_point, low, high)
    return y, y[-1].copy()
