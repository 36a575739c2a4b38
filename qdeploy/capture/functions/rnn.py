"""``qdeploy.float::RNN``: ``h_t = act(W h_{t-1} + U x_t + b)``.

``x: float[T, B, I]``, ``input_weight: float[H, I]`` (U), ``recurrent_weight: float[H, H]`` (W), ``bias: float[H]``,
``modrelu_bias: float[H]`` (only where ``activation`` is ``modrelu``, with the authors' 1e-6 in it), ``h0: float[B, H]``
(the last input; zeros where absent); ``Y: float[T, B, H]`` holds every state and ``Y_h: float[B, H]`` the last one.

Overloads are named ``<activation>`` and ``<activation>_h0``. Sources: the ONNX operator ``RNN``, and arXiv 2402.04012.

``U x_t + b`` of all steps is one product outside the loop, and the step itself is a Gemm and the activation: the number
of operators is what a step costs (1.7 µs at H = 170 against 2.7 with MatMul and Add).
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import ACTIVATIONS, FLOAT_DOMAIN, OPSET
from .modrelu import modrelu_text

__all__ = ["rnn", "rnn_overload"]


def rnn_overload(activation: str, *, has_h0: bool) -> str:
    """The name of the overload for ``activation``, with an initial state or from zeros."""
    return f"{activation}_h0" if has_h0 else activation


def rnn(activation: str, *, has_h0: bool) -> FunctionProto:
    """The function ``RNN`` in the overload for ``activation``, with or without ``h0``."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r}: expected one of {', '.join(ACTIVATIONS)}")
    step = {
        "relu": "h_next = Relu (sum)",
        "tanh": "h_next = Tanh (sum)",
        "linear": "h_next = Identity (sum)",
        "modrelu": modrelu_text("sum", "modrelu_bias", "h_next"),
    }[activation]
    inputs = ["x", "input_weight", "recurrent_weight", "bias"]
    if activation == "modrelu":
        inputs.append("modrelu_bias")
    start = ""
    if has_h0:
        inputs.append("h0")
    else:
        start = "state_shape = Shape <start = 1> (driven)\nh0 = ConstantOfShape <value = float[1] {0.0}> (state_shape)"
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{rnn_overload(activation, has_h0=has_h0)}", opset_import: ["": {OPSET}]>
        RNN <activation> ({", ".join(inputs)}) => (Y, Y_h)
        {{
            columns = Transpose <perm = [1, 0]> (input_weight)
            product = MatMul (x, columns)
            driven = Add (product, bias)
            {start}
            Y_h, Y = Scan <
                num_scan_inputs = 1,
                body = step (h, driven_t) => (h_next, y) {{
                    sum = Gemm <transB = 1> (h, recurrent_weight, driven_t)
                    {step}
                    y = Identity (h_next)
                }}
            > (h0, driven)
        }}""")
