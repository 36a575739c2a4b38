"""RNN: a whole recurrent layer, h_t = sigma(W h_{t-1} + U x_t + b), from integers to integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.accumulator import recurrent_reach
from qdeploy.runtime.loop_products import LoopProducts
from qdeploy.runtime.numeric import IntArray, check_int32, exact_matmul
from qdeploy.runtime.ops.loop_weights import check_loop_weights
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import count_saturated
from qdeploy.runtime.ops.rounded_loop import check_loop_rounding
from qdeploy.runtime.ops.sequence import check_sequence
from qdeploy.runtime.rounding import HALF_UP, requantize

ACTIVATIONS = ("linear", "relu", "modrelu", "table")
_TABLE_SIZES = tuple(2**n for n in range(1, 13))


@operator("RNN", outputs=("y", "y_h"))
def rnn(
    node: Node,
    x: IntArray,
    h0: IntArray,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    multiplier: IntArray,
    modrelu_bias: IntArray | None = None,
    table: IntArray | None = None,
    input_multiplier: IntArray | None = None,
    *,
    activation: str,
    x_zero_point: int,
    h_zero_point: int,
    input_shift: int,
    recurrent_shift: int,
    shift: int,
    low: int,
    high: int,
    dtype: int,
    rounding: str = HALF_UP,
) -> tuple[IntArray, ...]:
    """acc_t = (W (h_{t-1} - z_h)) * 2^recurrent_shift + u_t + bias;  h_t = clip(round(sigma(acc_t) M / 2^shift) + z_h).

    The input's part is u_t = (U (x_t - z_x)) * 2^input_shift, or, where ``input_multiplier`` is given,
    u_t = floor((U (x_t - z_x) * input_multiplier + 2^(input_shift-1)) / 2^input_shift), clipped to int32: it brings
    U x to the scale of W h and depends on no state.

    sigma acts on the accumulator: ``linear``; ``relu`` max(a, 0); ``modrelu`` sgn(a) max(|a| + modrelu_bias, 0),
    sgn(0) = 0. With ``table`` the accumulator is requantized to an index of n bits and h_t = table[index + 2^(n-1)]
    (tanh and the like).

    Args:
        x: uint8 or int16 ``[T, B, I]``, T >= 1.
        h0: the state before the first step, ``[B, H]``, uint8 or int16, in [low, high].
        input_weight: int8 ``[H, I]``.
        recurrent_weight: int8 ``[H, H]``.
        bias: int32 ``[H]``, at the accumulator's scale.
        multiplier: int32 ``[1]`` or ``[H]``; with ``shift`` it stands for the accumulator's scale over the state's (or
            over the index's). Not negative with relu, which bodies then take as the lower bound.
        modrelu_bias: int32 ``[H]`` at the accumulator's scale.
        table: of the state's type, ``[2^n]``, n <= 12.
        input_multiplier: int32 ``[1]`` or ``[H]``.
        activation: ``linear``, ``relu``, ``modrelu`` or ``table``.
        x_zero_point, h_zero_point: zero points; the state's is also what a zero state holds.
        input_shift, recurrent_shift: left shifts, 0 to 24; with ``input_multiplier`` the former shifts right, 0 to 30.
        shift: 0 to 46.
        low, high: inclusive bounds of the state. ReLU states of p bits are [0, 2^p - 1], others two's complement.
        dtype: ONNX element type of the state: 2 uint8, 5 int16.
        rounding: the rule by which the state is rounded; a node without it has ``half_up``. ``half_even`` is what kernels in
            single precision do: x and state uint8, linear or relu, no input_multiplier (``rounded_loop.py``);
            ``single_precision`` too, where their products are not exact.

    Returns:
        y ``[T, B, H]``, every state; y_h ``[B, H]``, the last one. N calls of one step, one call of N steps and any
        split between give the same bits, and a batch gives the bits of its sequences alone.

    The float layer is torch.nn.RNN, ONNX RNN and the QORNN of Foucault, Mamalet, Malgouyres (arXiv 2402.04012).
    """
    constants = node.cache.get("constants")
    if constants is None:
        constants = node.cache["constants"] = _checked(
            node,
            x_largest=max(x_zero_point, 255 - x_zero_point) if x.dtype == np.uint8 else 2**15,
            h_largest=max(abs(low - h_zero_point), abs(high - h_zero_point)),
            input_weight=input_weight,
            recurrent_weight=recurrent_weight,
            bias=bias,
            multiplier=multiplier,
            modrelu_bias=modrelu_bias,
            table=table,
            input_multiplier=input_multiplier,
            activation=activation,
            input_shift=input_shift,
            recurrent_shift=recurrent_shift,
            rounding=rounding,
            shift=shift,
        )
        node.require(
            rounding == HALF_UP or (x.dtype == np.uint8 and h0.dtype == np.uint8),
            f"x is {x.dtype} and h0 {h0.dtype}; rounding {rounding} goes from uint8 to uint8.",
        )
    node.require(
        activation != "relu" or low == h_zero_point, f"relu needs low = h_zero_point; found {low}, {h_zero_point}."
    )
    hidden, inputs = input_weight.shape
    kind = check_sequence(node, x, h0, hidden=hidden, inputs=inputs, low=low, high=high, dtype=dtype)

    y = np.empty((x.shape[0], x.shape[1], hidden), kind)
    h = h0
    for t in range(x.shape[0]):
        driven = exact_matmul(x[t].astype(np.int32) - x_zero_point, constants.input, constants.input_bound)
        if input_multiplier is None:
            driven <<= input_shift
        else:
            driven = requantize(driven, input_multiplier, input_shift)
        accumulator = exact_matmul(_centred(h, h_zero_point, constants), constants.recurrent, constants.recurrent_bound)
        accumulator <<= recurrent_shift
        accumulator += driven
        accumulator += bias
        if not constants.proven:
            check_int32(accumulator, f"node {node.name}, step {t}")
        h = y[t]
        h[...] = _state(
            accumulator, activation, multiplier, modrelu_bias, table, shift, h_zero_point, low, high, rounding
        )
    count_saturated(node, y, low if activation == "relu" else h_zero_point, low, high)
    return y, y[-1].copy()


def _centred(h: IntArray, zero_point: int, constants: LoopProducts) -> IntArray:
    """h - zero_point, in the type of the recurrent product."""
    centred: IntArray = h.astype(constants.recurrent.dtype)
    if zero_point:
        centred -= centred.dtype.type(zero_point)
    return centred


def _state(
    accumulator: NDArray[np.int64],
    activation: str,
    multiplier: IntArray,
    modrelu_bias: IntArray | None,
    table: IntArray | None,
    shift: int,
    zero_point: int,
    low: int,
    high: int,
    rounding: str,
) -> IntArray:
    """sigma and the requantization of one step's accumulator ``[B, H]``."""
    if activation == "table" and table is not None:
        half = table.size // 2
        index = requantize(accumulator, multiplier, shift, half, 0, table.size - 1)
        looked_up: IntArray = table[index]
        return looked_up
    if activation == "modrelu" and modrelu_bias is not None:
        accumulator = np.sign(accumulator) * np.maximum(np.abs(accumulator) + modrelu_bias, 0)
    elif activation == "relu":
        np.maximum(accumulator, 0, out=accumulator)
    return requantize(accumulator, multiplier, shift, zero_point, low, high, rounding=rounding)


def _checked(
    node: Node,
    *,
    x_largest: int,
    h_largest: int,
    input_weight: IntArray,
    recurrent_weight: IntArray,
    bias: IntArray,
    multiplier: IntArray,
    modrelu_bias: IntArray | None,
    table: IntArray | None,
    input_multiplier: IntArray | None,
    activation: str,
    input_shift: int,
    recurrent_shift: int,
    rounding: str,
    shift: int,
) -> LoopProducts:
    """Checks the constants against the contract and derives what the loop needs of them."""
    hidden = check_loop_weights(node, 1, input_weight=input_weight, recurrent_weight=recurrent_weight, bias=bias)
    node.require(activation in ACTIVATIONS, f"activation is {activation!r}; expected one of {ACTIVATIONS}.")
    for name, value in (("multiplier", multiplier), ("input_multiplier", input_multiplier)):
        if value is not None:
            node.require_dtype(name, value, np.int32)
            node.require(value.shape in ((1,), (hidden,)), f"{name} has shape {list(value.shape)}.")
    node.require(activation != "relu" or int(multiplier.min()) >= 0, "relu needs multipliers that are not negative.")
    node.require(0 <= input_shift <= 30 and 0 <= recurrent_shift <= 24, "a shift is outside its range.")
    node.require(
        (modrelu_bias is not None) == (activation == "modrelu"), "modrelu_bias comes with modrelu, and only then."
    )
    node.require((table is not None) == (activation == "table"), "table comes with activation 'table', and only then.")
    if modrelu_bias is not None:
        node.require_dtype("modrelu_bias", modrelu_bias, np.int32)
        node.require_shape("modrelu_bias", modrelu_bias, hidden)
    if table is not None:
        node.require(table.ndim == 1 and table.size in _TABLE_SIZES, f"table has shape {list(table.shape)}.")
    reach = recurrent_reach(
        recurrent_weight=recurrent_weight,
        input_weight=input_weight,
        bias=bias,
        state=h_largest,
        x=x_largest,
        recurrent_shift=recurrent_shift,
        input_shift=input_shift,
        input_multiplier=input_multiplier,
        modrelu_bias=modrelu_bias,
    )
    check_loop_rounding(
        node,
        rounding,
        activation=activation,
        reach=reach,
        multiplier=multiplier,
        shift=shift,
        requantized_input=input_multiplier is not None,
    )
    return LoopProducts.of(recurrent_weight, input_weight, h_largest=h_largest, x_largest=x_largest, reach=reach)
