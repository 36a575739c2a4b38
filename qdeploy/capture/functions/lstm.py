"""``qdeploy.float::LSTM``: a whole long short-term memory layer.

    [a_i; a_f; a_g; a_o] = W h_{t-1} + U x_t + b
    c_t = sigmoid(a_f) * c_{t-1} + sigmoid(a_i) * tanh(a_g),  h_t = sigmoid(a_o) * tanh(c_t)

Inputs: ``x`` [T, B, I], ``input_weight`` [4H, I], ``recurrent_weight`` [4H, H], ``bias`` [4H], and in the overload ``states``
``h0`` and ``c0`` [B, H], which are zero otherwise. Outputs: ``Y`` [T, B, H], ``Y_h`` [B, H] and ``Y_c`` [B, H].

Rows of the weights are ordered i, f, g, o as torch.nn.LSTM stacks them; ONNX LSTM has i, o, f, g (which it calls c).
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["lstm", "lstm_overload"]


def lstm_overload(*, has_states: bool) -> str:
    """The name of the overload with initial states, or from zeros."""
    return "states" if has_states else "zeros"


def lstm(*, has_states: bool) -> FunctionProto:
    """The function ``LSTM``, with or without ``h0`` and ``c0``."""
    inputs = ["x", "input_weight", "recurrent_weight", "bias"]
    start = ""
    if has_states:
        inputs += ["h0", "c0"]
    else:
        start = """
            batch = Shape <start = 1, end = 2> (x)
            units = Shape <start = 1, end = 2> (recurrent_weight)
            state_shape = Concat <axis = 0> (batch, units)
            h0 = ConstantOfShape <value = float[1] {0.0}> (state_shape)
            c0 = Identity (h0)"""
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{lstm_overload(has_states=has_states)}", opset_import: ["": {OPSET}]>
        LSTM ({", ".join(inputs)}) => (Y, Y_h, Y_c)
        {{
            columns = Transpose <perm = [1, 0]> (input_weight)
            product = MatMul (x, columns)
            driven = Add (product, bias){start}
            Y_h, Y_c, Y = Scan <
                num_scan_inputs = 1,
                body = step (h, c, driven_t) => (h_next, c_next, y) {{
                    sums = Gemm <transB = 1> (h, recurrent_weight, driven_t)
                    a_i, a_f, a_g, a_o = Split <axis = 1, num_outputs = 4> (sums)
                    i = Sigmoid (a_i)
                    f = Sigmoid (a_f)
                    g = Tanh (a_g)
                    o = Sigmoid (a_o)
                    kept = Mul (f, c)
                    added = Mul (i, g)
                    c_next = Add (kept, added)
                    shown = Tanh (c_next)
                    h_next = Mul (o, shown)
                    y = Identity (h_next)
                }}
            > (h0, c0, driven)
        }}""")
