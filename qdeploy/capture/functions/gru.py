"""``qdeploy.float::GRU``: one direction of a gated recurrent layer, the reset gate behind the recurrent product.

``r, z = sigmoid(W h_{t-1} + U x_t + b)``, ``n = tanh(r * (W h_{t-1} + c) + U x_t + b)``, ``h_t = (1 - z) n + z h_{t-1}``,
each with its own rows of W, U and b: those of r, z and n in this order (torch's; ONNX has z, r, h).

``x: float[T, B, I]``, ``input_weight: float[3H, I]`` (U), ``recurrent_weight: float[3H, H]`` (W), ``bias: float[3H]``,
``recurrent_bias: float[H]`` (c), ``h0: float[B, H]`` (zeros where absent); ``Y: float[T, B, H]`` holds every state and
``Y_h: float[B, H]`` the last one. Overloads: ``reset_after`` and ``reset_after_h0``. Sources: ``torch.nn.GRU``, and the
ONNX operator ``GRU`` with ``linear_before_reset`` 1.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["gru", "gru_overload"]


def gru_overload(*, has_h0: bool) -> str:
    """The name of the overload with an initial state or from zeros."""
    return "reset_after_h0" if has_h0 else "reset_after"


def gru(*, has_h0: bool) -> FunctionProto:
    """The function ``GRU``, with or without ``h0``."""
    inputs = ["x", "input_weight", "recurrent_weight", "bias", "recurrent_bias"]
    start = ""
    if has_h0:
        inputs.append("h0")
    else:
        start = """
            batch = Shape <start = 1, end = 2> (x)
            hidden = Shape (recurrent_bias)
            state_shape = Concat <axis = 0> (batch, hidden)
            h0 = ConstantOfShape <value = float[1] {0.0}> (state_shape)"""
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{gru_overload(has_h0=has_h0)}", opset_import: ["": {OPSET}]>
        GRU ({", ".join(inputs)}) => (Y, Y_h)
        {{
            input_columns = Transpose <perm = [1, 0]> (input_weight)
            columns = Transpose <perm = [1, 0]> (recurrent_weight)
            product = MatMul (x, input_columns)
            driven = Add (product, bias)
            driven_r, driven_z, driven_n = Split <axis = 2, num_outputs = 3> (driven)
            {start}
            Y_h, Y = Scan <
                num_scan_inputs = 3,
                body = step (h, r_t, z_t, n_t) => (h_next, y) {{
                    recurrent = MatMul (h, columns)
                    w_r, w_z, w_n = Split <axis = 1, num_outputs = 3> (recurrent)
                    sum_r = Add (w_r, r_t)
                    r = Sigmoid (sum_r)
                    sum_z = Add (w_z, z_t)
                    z = Sigmoid (sum_z)
                    biased = Add (w_n, recurrent_bias)
                    reset = Mul (r, biased)
                    sum_n = Add (reset, n_t)
                    n = Tanh (sum_n)
                    difference = Sub (h, n)
                    kept = Mul (z, difference)
                    h_next = Add (n, kept)
                    y = Identity (h_next)
                }}
            > (h0, driven_r, driven_z, driven_n)
        }}""")
