"""LSTM: a whole long short-term memory layer, from integers to integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdeploy.runtime.accumulator import INT32_REACH, recurrent_reach
from qdeploy.runtime.numeric import (
    IntArray,
    check_int32,
    check_range,
    exact_matmul,
    product_bound,
    product_type,
    requantize,
)
from qdeploy.runtime.ops.loop_weights import check_loop_weights
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import count_saturated
from qdeploy.runtime.ops.sequence import check_sequence

GATE_BITS = 14
"""Fractional bits of a gate: 2^14 is 1, so that an open gate loses nothing, and i g + f c plus 2^30 fits int32."""

CELL_LOW, CELL_HIGH = -(2**15), 2**15 - 1

MAX_OUTPUT_SHIFT = 30

_TABLE_SIZES = tuple(2**n for n in range(1, 13))


@operator("LSTM", outputs=("y", "y_h", "y_c"))
def lstm(
    node: Node,
    x: IntArray,
    h0: IntArray,
    c0: IntArray,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    input_multiplier: IntArray,
    multiplier: IntArray,
    gate_table: IntArray,
    candidate_table: IntArray,
    cell_table: IntArray,
    *,
    x_zero_point: int,
    h_zero_point: int,
    input_shift: int,
    recurrent_shift: int,
    shift: int,
    cell_shift: int,
    output_shift: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """acc_t = (W (h_{t-1} - z_h)) 2^recurrent_shift + u_t + bias; c_t = round((i_t g_t + f_t c_{t-1}) / 2^14); h_t from o_t, c_t.

    With round(a / 2^s) = floor((a + 2^(s-1)) / 2^s), nothing being added for s = 0, and [acc_i; acc_f; acc_g; acc_o] = acc_t:

        u_t = clip(round(U (x_t - z_x) input_multiplier / 2^input_shift), int32)
        j   = clip(round(acc_t multiplier / 2^shift) + 2^(n-1), 0, 2^n - 1), an index of n bits for each of the four
        i_t = gate_table[j_i],  f_t = gate_table[j_f],  o_t = gate_table[j_o]     sigmoid, Q0.14
        g_t = candidate_table[j_g]                                                tanh, at the scale of c
        c_t = clip(round((i_t g_t + f_t c_{t-1}) / 2^14), -2^15, 2^15 - 1)
        k   = clip(round(c_t / 2^cell_shift) + 2^(m-1), 0, 2^m - 1), an index of m bits
        h_t = clip(round(o_t cell_table[k] / 2^output_shift) + z_h, low, high)    cell_table: tanh, Q0.15

    All products and sums are exact in int32.

    Args:
        x: uint8 or int16 ``[T, B, I]``, T >= 1.
        h0: the hidden state before the first step, ``[B, H]``, uint8 or int16, in [low, high].
        c0: the cell state before the first step, int16 ``[B, H]``, zero point 0; its scale is a power of two.
        input_weight: int8 ``[4H, I]``, the rows of the gates i, f, g, o one after the other, as torch stacks them.
        recurrent_weight: int8 ``[4H, H]``, in the same order.
        bias: int32 ``[4H]``, at the accumulator's scale.
        input_multiplier: int32 ``[1]`` or ``[4H]``; it brings U x to the accumulator's scale.
        multiplier: int32 ``[1]`` or ``[4H]``; with ``shift`` the accumulator's scale over the index's.
        gate_table: int16 ``[2^n]``, n <= 12, in [0, 2^14].
        candidate_table: int16 ``[2^n]``, of the same n, in [-(2^15 - 1), 2^15 - 1].
        cell_table: int16 ``[2^m]``, m <= 12, in [-(2^15 - 1), 2^15 - 1].
        x_zero_point, h_zero_point: zero points; the hidden state's is also what a zero state holds.
        input_shift: 0 to 30.
        recurrent_shift: 0 to 24, to the left.
        shift: 0 to 46.
        cell_shift: 0 to 15.
        output_shift: 0 to 30; the hidden state's scale is 2^(output_shift - 29).
        low, high: inclusive bounds of the hidden state.
        dtype: ONNX element type of the hidden state: 2 uint8, 5 int16.

    Returns:
        y ``[T, B, H]``, every hidden state; y_h ``[B, H]``, the last one; y_c ``[B, H]``, the last cell state. N calls of one
        step, one call of N steps and any split between give the same bits, and a batch gives the bits of its sequences alone.

    The float layer is torch.nn.LSTM and ONNX LSTM with its default activations and without peepholes.
    """
    constants = node.cache.get("constants")
    if constants is None:
        constants = node.cache["constants"] = _Constants.checked(
            node,
            x_largest=max(x_zero_point, 255 - x_zero_point) if x.dtype == np.uint8 else 2**15,
            h_largest=max(abs(low - h_zero_point), abs(high - h_zero_point)),
            input_weight=input_weight,
            recurrent_weight=recurrent_weight,
            bias=bias,
            input_multiplier=input_multiplier,
            multiplier=multiplier,
            gate_table=gate_table,
            candidate_table=candidate_table,
            cell_table=cell_table,
            input_shift=input_shift,
            recurrent_shift=recurrent_shift,
            cell_shift=cell_shift,
            output_shift=output_shift,
        )
    hidden, inputs = recurrent_weight.shape[1], input_weight.shape[1]
    kind = check_sequence(node, x, h0, hidden=hidden, inputs=inputs, low=low, high=high, dtype=dtype)
    node.require_dtype("c0", c0, np.int16)
    node.require_shape("c0", c0, x.shape[1], hidden)

    index_half, cell_half = gate_table.size // 2, cell_table.size // 2
    y = np.empty((x.shape[0], x.shape[1], hidden), kind)
    h, c = h0.astype(np.int64), c0.astype(np.int64)
    for t in range(x.shape[0]):
        driven = exact_matmul(x[t].astype(np.int32) - x_zero_point, constants.input, constants.input_bound)
        accumulator = exact_matmul(h - h_zero_point, constants.recurrent, constants.recurrent_bound)
        accumulator <<= recurrent_shift
        accumulator += requantize(driven, input_multiplier, input_shift)
        accumulator += bias
        if not constants.proven:
            check_int32(accumulator, f"node {node.name}, step {t}")
        index = requantize(accumulator, multiplier, shift, index_half, 0, gate_table.size - 1)
        input_index, forget_index, candidate_index, output_index = np.split(index, 4, axis=1)
        kept = constants.gate[forget_index] * c
        added = constants.gate[input_index] * constants.candidate[candidate_index]
        c = requantize(kept + added, 1, GATE_BITS, 0, CELL_LOW, CELL_HIGH)
        count_saturated(node, c, 0, CELL_LOW, CELL_HIGH)
        cell_index = requantize(c, 1, cell_shift, cell_half, 0, cell_table.size - 1)
        shown = constants.gate[output_index] * constants.cell[cell_index]
        h = requantize(shown, 1, output_shift, h_zero_point, low, high)
        y[t] = h
    count_saturated(node, y, h_zero_point, low, high)
    return y, y[-1].copy(), c.astype(np.int16)


@dataclass(frozen=True)
class _Constants:
    """What the loop derives once from its constants: weights in the type of an exact product, and proven bounds."""

    recurrent: IntArray
    recurrent_bound: int
    input: IntArray
    input_bound: int
    gate: IntArray
    candidate: IntArray
    cell: IntArray
    proven: bool

    @classmethod
    def checked(
        cls,
        node: Node,
        *,
        x_largest: int,
        h_largest: int,
        input_weight: IntArray,
        recurrent_weight: IntArray,
        bias: IntArray,
        input_multiplier: IntArray,
        multiplier: IntArray,
        gate_table: IntArray,
        candidate_table: IntArray,
        cell_table: IntArray,
        input_shift: int,
        recurrent_shift: int,
        cell_shift: int,
        output_shift: int,
    ) -> _Constants:
        """Checks the constants against the contract and derives what the loop needs of them."""
        hidden = check_loop_weights(node, 4, input_weight=input_weight, recurrent_weight=recurrent_weight, bias=bias)
        for name, value in (("multiplier", multiplier), ("input_multiplier", input_multiplier)):
            node.require_dtype(name, value, np.int32)
            node.require(value.shape in ((1,), (4 * hidden,)), f"{name} has shape {list(value.shape)}.")
        tables = {"gate_table": gate_table, "candidate_table": candidate_table, "cell_table": cell_table}
        for name, table in tables.items():
            node.require_dtype(name, table, np.int16)
            node.require(table.ndim == 1 and table.size in _TABLE_SIZES, f"{name} has shape {list(table.shape)}.")
            lowest, highest = (0, 2**GATE_BITS) if name == "gate_table" else (-CELL_HIGH, CELL_HIGH)
            check_range(table, lowest, highest, f"node {node.name}, {name}")
        node.require(
            gate_table.size == candidate_table.size,
            f"candidate_table has {candidate_table.size} entries; expected {gate_table.size}, as many as gate_table.",
        )
        node.require(0 <= input_shift <= 30 and 0 <= recurrent_shift <= 24, "a shift is outside its range.")
        node.require(0 <= cell_shift <= 15, f"cell_shift is {cell_shift}; expected 0 to 15.")
        node.require(
            0 <= output_shift <= MAX_OUTPUT_SHIFT, f"output_shift is {output_shift}; expected 0 to {MAX_OUTPUT_SHIFT}."
        )
        recurrent_bound = product_bound(recurrent_weight, h_largest)
        input_bound = product_bound(input_weight, x_largest)
        reach = recurrent_reach(
            recurrent_weight=recurrent_weight,
            input_weight=input_weight,
            bias=bias,
            state=h_largest,
            x=x_largest,
            recurrent_shift=recurrent_shift,
            input_shift=input_shift,
            input_multiplier=input_multiplier,
        )
        return cls(
            recurrent=np.ascontiguousarray(recurrent_weight.T.astype(product_type(recurrent_bound))),
            recurrent_bound=recurrent_bound,
            input=np.ascontiguousarray(input_weight.T.astype(product_type(input_bound))),
            input_bound=input_bound,
            gate=gate_table.astype(np.int64),
            candidate=candidate_table.astype(np.int64),
            cell=cell_table.astype(np.int64),
            proven=int(reach.max()) < INT32_REACH,
        )
