"""``qdeploy.float::GRU``: one direction of a gated recurrent layer, the reset gate behind the recurrent product.

``r, z = sigmoid(W h_{t-1} + U x_t + b)``, ``n = tanh(r * (W h_{t-1} + c) + U x_t + b)``, ``h_t = (1 - z) n + z h_{t-1}``,
each with its own rows of W, U and b: those of r, z and n in this order (torch's; ONNX has z, r, h).

``x: float[T, B, I]``, ``input_weight: float[3H, I]`` (U), ``recurrent_weight: float[3H, H]`` (W), ``bias: float[3H]``,
``recurrent_bias: float[H]`` (c), ``h0: float[B, H]`` (zeros where absent), ``hidden_size`` H; ``Y: float[T, B, H]`` holds
every state and ``Y_h: float[B, H]`` the last one. Overloads: ``reset_after`` and ``reset_after_h0``. Sources:
``torch.nn.GRU``, and the ONNX operator ``GRU`` with ``linear_before_reset`` 1.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["gru", "gru_overload", "update_first"]


def gru_overload(*, has_h0: bool) -> str:
    """The name of the overload with an initial state or from zeros."""
    return "reset_after_h0" if has_h0 else "reset_after"


def gru(*, has_h0: bool) -> FunctionProto:
    """The function ``GRU``, with or without ``h0``: the standard operator, with its order of gates and both biases.

    What the operator reads is made of constants, so that a graph in which the function was expanded folds to the operator
    and is recognised again.
    """
    inputs = ["x", "input_weight", "recurrent_weight", "bias", "recurrent_bias"]
    initial = ""
    if has_h0:
        inputs.append("h0")
        initial = "initial = Unsqueeze (h0, direction)"
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{gru_overload(has_h0=has_h0)}", opset_import: ["": {OPSET}]>
        GRU <hidden_size> ({", ".join(inputs)}) => (Y, Y_h)
        {{
            direction = Constant <value_ints = [0]> ()
            second = Constant <value_ints = [1]> ()
            hidden = Shape (recurrent_bias)
            hidden2 = Add (hidden, hidden)
            hidden3 = Add (hidden2, hidden)
            {update_first("input_weight", "u_rows")}
            W = Unsqueeze (u_rows, direction)
            {update_first("recurrent_weight", "w_rows")}
            R = Unsqueeze (w_rows, direction)
            {update_first("bias", "b_rows")}
            none = Sub (recurrent_bias, recurrent_bias)
            both = Concat <axis = 0> (b_rows, none, none, recurrent_bias)
            B = Unsqueeze (both, direction)
            {initial}
            states, last = GRU <hidden_size: int = @hidden_size, linear_before_reset = 1> (
                x, W, R, B{", , initial" if has_h0 else ""})
            Y = Squeeze (states, second)
            Y_h = Squeeze (last, direction)
        }}""")


def update_first(rows: str, ordered: str) -> str:
    """Nodes that bring ``rows`` of r, z, n to ONNX's order; a Split is not folded.

    They read ``direction``, a vector of 0, and ``hidden``, ``hidden2`` and ``hidden3``, vectors of H, 2H and 3H.
    """
    return f"""
            {ordered}_r = Slice ({rows}, direction, hidden, direction)
            {ordered}_z = Slice ({rows}, hidden, hidden2, direction)
            {ordered}_n = Slice ({rows}, hidden2, hidden3, direction)
            {ordered} = Concat <axis = 0> ({ordered}_z, {ordered}_r, {ordered}_n)"""
