"""``qdeploy.float::GRUResetBefore``: one direction of a gated recurrent layer, the reset gate before the recurrent product.

``r, z = sigmoid(W h_{t-1} + U x_t + b)``, ``n = tanh(W (r * h_{t-1}) + U x_t + b)``, ``h_t = (1 - z) n + z h_{t-1}``,
each with its own rows of W, U and b: those of r, z and n in this order (ONNX has z, r, h).

``x: float[T, B, I]``, ``input_weight: float[3H, I]`` (U), ``recurrent_weight: float[3H, H]`` (W), ``bias: float[3H]``,
``h0: float[B, H]`` (zeros where absent), ``hidden_size`` H; ``Y: float[T, B, H]`` holds every state and
``Y_h: float[B, H]`` the last one. Overloads: ``reset_before`` and ``reset_before_h0``. Source: the ONNX operator ``GRU`` with
``linear_before_reset`` 0, its default; Keras's ``reset_after=False``.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET
from .gru import update_first

__all__ = ["gru_reset_before", "gru_reset_before_overload"]


def gru_reset_before_overload(*, has_h0: bool) -> str:
    """The name of the overload with an initial state or from zeros."""
    return "reset_before_h0" if has_h0 else "reset_before"


def gru_reset_before(*, has_h0: bool) -> FunctionProto:
    """The function ``GRUResetBefore``, with or without ``h0``: the standard operator, with its order of gates.

    What the operator reads is made of constants, so that a graph in which the function was expanded folds to the operator
    and is recognised again.
    """
    inputs = ["x", "input_weight", "recurrent_weight", "bias"]
    initial = ""
    if has_h0:
        inputs.append("h0")
        initial = "initial = Unsqueeze (h0, direction)"
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{gru_reset_before_overload(has_h0=has_h0)}", opset_import: ["": {OPSET}]>
        GRUResetBefore <hidden_size> ({", ".join(inputs)}) => (Y, Y_h)
        {{
            direction = Constant <value_ints = [0]> ()
            second = Constant <value_ints = [1]> ()
            hidden = Shape <start = 1, end = 2> (recurrent_weight)
            hidden2 = Add (hidden, hidden)
            hidden3 = Add (hidden2, hidden)
            {update_first("input_weight", "u_rows")}
            W = Unsqueeze (u_rows, direction)
            {update_first("recurrent_weight", "w_rows")}
            R = Unsqueeze (w_rows, direction)
            {update_first("bias", "b_rows")}
            none = Sub (bias, bias)
            both = Concat <axis = 0> (b_rows, none)
            B = Unsqueeze (both, direction)
            {initial}
            states, last = GRU <hidden_size: int = @hidden_size, linear_before_reset = 0> (
                x, W, R, B{", , initial" if has_h0 else ""})
            Y = Squeeze (states, second)
            Y_h = Squeeze (last, direction)
        }}""")
