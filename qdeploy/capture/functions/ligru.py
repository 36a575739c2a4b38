"""``qdeploy.float::LiGRU``: a whole light gated recurrent layer.

    [a; z] = W h_{t-1} + U x_t + b,  h_t = sigmoid(z) h_{t-1} + (1 - sigmoid(z)) act(a)

``x: float[T, B, I]``, ``input_weight: float[2H, I]`` (U), ``recurrent_weight: float[2H, H]`` (W), ``bias: float[2H]``, rows of
the candidate a before those of the gate z, ``h0: float[B, H]`` (zeros where absent); ``Y: float[T, B, H]`` holds every state
and ``Y_h: float[B, H]`` the last one. ``act`` is tanh in the overload ``tanh``, and max(a, slope a) in ``rectifier``, with
``slope`` 0 for ReLU. Overloads with an initial state end in ``_h0``. Source: arXiv 1803.10225.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["LIGRU_CANDIDATES", "ligru", "ligru_overload"]

LIGRU_CANDIDATES = ("rectifier", "tanh")


def ligru_overload(candidate: str, *, has_h0: bool) -> str:
    """The name of the overload for ``candidate``, with an initial state or from zeros."""
    return f"{candidate}_h0" if has_h0 else candidate


def ligru(candidate: str, *, has_h0: bool) -> FunctionProto:
    """The function ``LiGRU`` for ``candidate``, with or without ``h0``."""
    inputs = ["x", "input_weight", "recurrent_weight", "bias"]
    start = """
            batch = Shape <start = 1, end = 2> (x)
            units = Shape <start = 1, end = 2> (recurrent_weight)
            state_shape = Concat <axis = 0> (batch, units)
            h0 = ConstantOfShape <value = float[1] {0.0}> (state_shape)"""
    if has_h0:
        inputs.append("h0")
        start = ""
    act = "n = Tanh (a)"
    if candidate == "rectifier":
        act = "leak = Mul (a, slope_value)\n                    n = Max (a, leak)"
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{ligru_overload(candidate, has_h0=has_h0)}", opset_import: ["": {OPSET}]>
        LiGRU <candidate, slope> ({", ".join(inputs)}) => (Y, Y_h)
        {{
            slope_value = Constant <value_float: float = @slope> ()
            columns = Transpose <perm = [1, 0]> (input_weight)
            product = MatMul (x, columns)
            driven = Add (product, bias){start}
            Y_h, Y = Scan <
                num_scan_inputs = 1,
                body = step (h, driven_t) => (h_next, y) {{
                    sums = Gemm <transB = 1> (h, recurrent_weight, driven_t)
                    a, b = Split <axis = 1, num_outputs = 2> (sums)
                    z = Sigmoid (b)
                    {act}
                    distance = Sub (h, n)
                    kept = Mul (z, distance)
                    h_next = Add (n, kept)
                    y = Identity (h_next)
                }}
            > (h0, driven)
        }}""")
