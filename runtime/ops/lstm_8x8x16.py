"""LSTM8x8x16: the integer LSTM that LiteRT has built in, with activations and weights of 8 bits and gates and cells of 16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from qdeploy.runtime.accumulator import product_reach
from qdeploy.runtime.gemmlowp import MAX_INTEGER_BITS, logistic, tanh
from qdeploy.runtime.kernel_rounding import first_shift, half_away
from qdeploy.runtime.numeric import MAX_SHIFT, IntArray, exact_matmul, product_bound, product_type
from qdeploy.runtime.ops.loop_weights import check_loop_weights
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import count_saturated
from qdeploy.runtime.rounding import GEMMLOWP, requantize

__all__ = [
    "CANDIDATE_INTEGER_BITS",
    "GATE_BITS",
    "HIGHEST",
    "H_ZERO_POINT",
    "LOWEST",
    "MAX_MULTIPLIER",
    "PRE_ACTIVATION_BITS",
    "lstm_8x8x16",
    "reach",
]

H_ZERO_POINT = 128
"""Of the hidden state: LiteRT's int8 is this uint8 less 128, and its hidden state is symmetric."""

PRE_ACTIVATION_BITS = 12
"""Fractional bits of a gate before its activation; three bits and the sign are left for integers."""

GATE_BITS = 15
"""Fractional bits of a gate."""

LOWEST, HIGHEST = -(2**15), 2**15 - 1

MAX_MULTIPLIER = 2**24 - 1
"""A multiplier is the significand of a single-precision scale in LiteRT's file."""

_MAX_RIGHT_SHIFT = 31
_INT32_REACH = 2**31
CANDIDATE_INTEGER_BITS = 3
"""Of a gate before its activation."""

_Activation: TypeAlias = Callable[[IntArray], IntArray]
_ACTIVATIONS: tuple[_Activation, ...] = (
    logistic,
    logistic,
    partial(tanh, integer_bits=CANDIDATE_INTEGER_BITS),
    logistic,
)


@operator("LSTM8x8x16", outputs=("y", "y_h", "y_c"))
def lstm_8x8x16(
    node: Node,
    x: IntArray,
    h0: IntArray,
    c0: IntArray,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    input_multiplier: IntArray,
    recurrent_multiplier: IntArray,
    *,
    x_zero_point: int,
    input_shift: int,
    recurrent_shift: int,
    cell_integer_bits: int,
    output_shift: int,
) -> tuple[IntArray, ...]:
    """a = clip(clip(R_u(U (x_t - z_x) + bias)) + R_w(W (h_{t-1} - 128))); c_t = clip(f_t c_{t-1} + i_t g_t); h_t from o_t, c_t.

    R_u(n) is n input_multiplier / 2^input_shift by the rule ``gemmlowp`` (rounded twice), each gate with its multiplier; R_w
    likewise. P(n, s) is n / 2^s, ties away from zero; clip is to int16. logistic and tanh are those of ``runtime/gemmlowp.py``,
    on int16, with results in Q0.15. With [a_i; a_f; a_g; a_o] = a, of 12 fractional bits:

        i_t, f_t, o_t = logistic(a_i), logistic(a_f), logistic(a_o);   g_t = tanh(a_g), of 3 integer bits
        c_t = clip(P(f_t c_{t-1}, 15) + P(i_t g_t, 15 + cell_integer_bits))
        h_t = min(P'(o_t tanh(c_t), output_shift), 127) + 128         tanh of cell_integer_bits integer bits

    P' rounds twice as LiteRT does with a multiplier that is a power of two: half up by one bit, then by the others, ties away
    from zero. Accumulators are exact in int32, their zero points and biases counted.

    Args:
        x: uint8 ``[T, B, I]``, T >= 1.
        h0: the hidden state before the first step, uint8 ``[B, H]``; its zero point is 128.
        c0: the cell state before the first step, int16 ``[B, H]``; its scale is 2^(cell_integer_bits - 15).
        input_weight: int8 ``[4H, I]``, the rows of the gates i, f, g, o one after the other; no entry is -128.
        recurrent_weight: int8 ``[4H, H]``, likewise.
        bias: int32 ``[4H]``, at the scale of U x.
        input_multiplier: int32 ``[4]``, one a gate, 1 to 2^24 - 1; with ``input_shift`` the scale of U x over 2^-12.
        recurrent_multiplier: int32 ``[4]``, likewise of W h.
        x_zero_point: 0 to 255.
        input_shift, recurrent_shift: 0 to 46.
        cell_integer_bits: 0 to 6.
        output_shift: 16 to 30; the hidden state's scale is 2^(output_shift - 30).

    Returns:
        y uint8 ``[T, B, H]``, every hidden state; y_h ``[B, H]``, the last one; y_c int16 ``[B, H]``, the last cell state. N
        calls of one step, one call of N steps and any split between give the same bits, and so does a batch.

    The float layer is torch.nn.LSTM. Source: TensorFlow Lite's ``lstm_eval.cc`` (LstmStepInteger8x8_16, without peepholes,
    projection, layer norm and clipping), the same on x86-64 and ARM: measured with ai-edge-litert 2.3.0 and tflite-runtime
    2.14.0.
    """
    constants = node.cache.get("constants")
    if constants is None:
        constants = node.cache["constants"] = _Constants.checked(
            node,
            x_zero_point=x_zero_point,
            input_weight=input_weight,
            recurrent_weight=recurrent_weight,
            bias=bias,
            input_multiplier=input_multiplier,
            recurrent_multiplier=recurrent_multiplier,
            input_shift=input_shift,
            recurrent_shift=recurrent_shift,
            cell_integer_bits=cell_integer_bits,
            output_shift=output_shift,
        )
    hidden, inputs = recurrent_weight.shape[1], input_weight.shape[1]
    node.require_dtype("x", x, np.uint8)
    node.require(x.ndim == 3 and x.size > 0, f"x has shape {list(x.shape)}; expected [T, B, {inputs}] with T >= 1.")
    node.require_shape("x", x, None, None, inputs)
    node.require_dtype("h0", h0, np.uint8)
    node.require_shape("h0", h0, x.shape[1], hidden)
    node.require_dtype("c0", c0, np.int16)
    node.require_shape("c0", c0, x.shape[1], hidden)

    y = np.empty((x.shape[0], x.shape[1], hidden), np.uint8)
    h, c = h0.astype(np.int64), c0.astype(np.int64)
    for t in range(x.shape[0]):
        driven = exact_matmul(x[t].astype(np.int32) - x_zero_point, constants.input, constants.input_bound) + bias
        recalled = exact_matmul(h - H_ZERO_POINT, constants.recurrent, constants.recurrent_bound)
        before = _pre_activation(driven, constants.input_multiplier, input_shift)
        before += _pre_activation(recalled, constants.recurrent_multiplier, recurrent_shift, -(2**31), 2**31 - 1)
        parts = np.split(np.clip(before, LOWEST, HIGHEST), 4, axis=1)
        gates = [activation(part).astype(np.int64) for activation, part in zip(_ACTIVATIONS, parts, strict=True)]
        kept = half_away(gates[1] * c, 1, GATE_BITS, 0, LOWEST, HIGHEST)
        added = half_away(gates[0] * gates[2], 1, GATE_BITS + cell_integer_bits, 0, LOWEST, HIGHEST)
        c = np.clip(kept + added, LOWEST, HIGHEST)
        count_saturated(node, c, 0, LOWEST, HIGHEST)
        shown = gates[3] * tanh(c, cell_integer_bits).astype(np.int64)
        h = requantize(shown, 1, output_shift, H_ZERO_POINT, 0, 255, rounding=GEMMLOWP)
        y[t] = h
    count_saturated(node, y, H_ZERO_POINT, 0, 255)
    return y, y[-1].copy(), c.astype(np.int16)


def _pre_activation(
    product: IntArray, multiplier: IntArray, shift: int, low: int = LOWEST, high: int = HIGHEST
) -> IntArray:
    return requantize(product, multiplier, shift, 0, low, high, rounding=GEMMLOWP)


def reach(weight: IntArray, bias: IntArray | int, zero_point: int, multiplier: IntArray, shift: int) -> int:
    """A bound of what a product must hold in int32.

    It counts the bias, what LiteRT adds for the zero point, and, where a multiplier is above 1, LiteRT's shift to the left.

    Args:
        weight: ``[4H, K]``.
        bias: ``[4H]`` or 0.
        zero_point: of the uint8 that it is multiplied with.
        multiplier: ``[4]``, positive.
        shift: the multiplier's.
    """
    entries = 128 + abs(zero_point - 128)
    rows = product_reach(weight, entries) + np.abs(np.asarray(bias, np.int64)).astype(object)
    _, bits = np.frexp(multiplier.astype(np.float64))
    left = np.repeat(np.maximum(bits.astype(int) - shift, 0), len(weight) // len(multiplier))
    return int(max(int(row) << int(more) for row, more in zip(rows, left, strict=True)))


@dataclass(frozen=True)
class _Constants:
    """What the loop derives once from its constants: weights in the type of an exact product, multipliers of all rows."""

    recurrent: IntArray
    recurrent_bound: int
    input: IntArray
    input_bound: int
    input_multiplier: IntArray
    recurrent_multiplier: IntArray

    @classmethod
    def checked(
        cls,
        node: Node,
        *,
        x_zero_point: int,
        input_weight: IntArray,
        recurrent_weight: IntArray,
        bias: IntArray,
        input_multiplier: IntArray,
        recurrent_multiplier: IntArray,
        input_shift: int,
        recurrent_shift: int,
        cell_integer_bits: int,
        output_shift: int,
    ) -> _Constants:
        """Checks the constants against the contract and derives what the loop needs of them."""
        hidden = check_loop_weights(node, 4, input_weight=input_weight, recurrent_weight=recurrent_weight, bias=bias)
        node.require(0 <= x_zero_point <= 255, f"x_zero_point is {x_zero_point}; expected 0 to 255.")
        bits = cell_integer_bits
        node.require(0 <= bits <= MAX_INTEGER_BITS, f"cell_integer_bits is {bits}; expected 0 to {MAX_INTEGER_BITS}.")
        node.require(16 <= output_shift <= 30, f"output_shift is {output_shift}; expected 16 to 30.")
        for name, weight, multiplier, shift, added, zero_point in (
            ("input", input_weight, input_multiplier, input_shift, bias, x_zero_point),
            ("recurrent", recurrent_weight, recurrent_multiplier, recurrent_shift, 0, H_ZERO_POINT),
        ):
            node.require(int(weight.min()) > -128, f"{name}_weight has an entry of -128; expected -127 to 127.")
            _check_multiplier(node, name, multiplier, shift)
            found = reach(weight, added, zero_point, multiplier, shift)
            node.require(
                found < _INT32_REACH, f"the {name} product could reach {found}, beyond int32, where LiteRT holds it."
            )
        recurrent_bound = product_bound(recurrent_weight, 128)
        input_bound = product_bound(input_weight, max(x_zero_point, 255 - x_zero_point))
        return cls(
            recurrent=np.ascontiguousarray(recurrent_weight.T.astype(product_type(recurrent_bound))),
            recurrent_bound=recurrent_bound,
            input=np.ascontiguousarray(input_weight.T.astype(product_type(input_bound))),
            input_bound=input_bound,
            input_multiplier=np.repeat(input_multiplier, hidden),
            recurrent_multiplier=np.repeat(recurrent_multiplier, hidden),
        )


def _check_multiplier(node: Node, name: str, multiplier: IntArray, shift: int) -> None:
    """Four significands of single precision, none of which is shifted beyond what LiteRT shifts."""
    node.require_dtype(f"{name}_multiplier", multiplier, np.int32)
    node.require_shape(f"{name}_multiplier", multiplier, 4)
    node.require(
        int(multiplier.min()) > 0 and int(multiplier.max()) <= MAX_MULTIPLIER,
        f"{name}_multiplier is {multiplier.tolist()}; expected 1 to {MAX_MULTIPLIER}.",
    )
    node.require(0 <= shift <= MAX_SHIFT, f"{name}_shift is {shift}; expected 0 to {MAX_SHIFT}.")
    right = shift - int(first_shift(multiplier, shift).min())
    node.require(
        right <= _MAX_RIGHT_SHIFT,
        f"{name}_multiplier over 2^{shift} is below 2^-{_MAX_RIGHT_SHIFT + 1}, which LiteRT takes for 0.",
    )
