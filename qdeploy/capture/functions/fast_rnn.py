"""``qdeploy.float::FastRNN`` and ``FastGRNN``: recurrent layers of one pre-activation and a residual connection.

    a_t = W h_{t-1} + U x_t                        or  W (F h_{t-1}) + U x_t, of low rank
    FastRNN:   h_t = alpha act(a_t + b) + beta h_{t-1}
    FastGRNN:  z = act_g(a_t + b_g),  n = act(a_t + b_u),  h_t = (zeta (1 - z) + nu) n + z h_{t-1}

Inputs: ``x`` [T, B, I], ``input_weight`` [H, I] (U), ``recurrent_weight`` [H, H], or [H, R] of low rank (W), ``bias`` [H], or
[2H] with b_g before b_u, ``mix`` [2] (alpha and beta, or zeta and nu), ``factor`` [R, H] where the attribute ``rank`` is ``low``,
and ``h0`` [B, H], which is zero where absent. Outputs: ``Y`` [T, B, H] and ``Y_h`` [B, H]. The attributes ``activation`` and
``gate`` are names of ``NONLINEARITIES``.

Source: Kusupati et al., NeurIPS 2018. The authors' matrices multiply row vectors from the right and are called the other way
round: their W is the transpose of U here, their U that of W.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["NONLINEARITIES", "RANKS", "fast_grnn", "fast_overload", "fast_rnn"]

RANKS = ("full", "low")

NONLINEARITIES = {
    "sigmoid": "{y} = Sigmoid ({x})",
    "tanh": "{y} = Tanh ({x})",
    "relu": "{y} = Relu ({x})",
    "quant_sigmoid": "{y}_above = Add ({x}, one)\n{y}_half = Div ({y}_above, two)\n{y} = Clip ({y}_half, zero, one)",
    "quant_tanh": "{y} = Clip ({x}, minus_one, one)",
}


def fast_overload(activation: str, rank: str, *, gate: str = "", has_h0: bool) -> str:
    """The name of the overload, such as ``sigmoid_tanh_low_h0``."""
    return "_".join(word for word in (gate, activation, "low" if rank == "low" else "", "h0" if has_h0 else "") if word)


def fast_rnn(activation: str, rank: str, *, has_h0: bool) -> FunctionProto:
    """The function ``FastRNN`` in one of its overloads."""
    step = f"""
        biased = Add (sum, bias)
        {NONLINEARITIES[activation].format(x="biased", y="fresh")}
        added = Mul (first, fresh)
        kept = Mul (second, h)
        h_next = Add (added, kept)"""
    return _function("FastRNN", fast_overload(activation, rank, has_h0=has_h0), rank, "", step, has_h0=has_h0)


def fast_grnn(gate: str, activation: str, rank: str, *, has_h0: bool) -> FunctionProto:
    """The function ``FastGRNN`` in one of its overloads."""
    step = f"""
        sum_g = Add (sum, bias_g)
        sum_u = Add (sum, bias_u)
        {NONLINEARITIES[gate].format(x="sum_g", y="z")}
        {NONLINEARITIES[activation].format(x="sum_u", y="n")}
        closed = Sub (one, z)
        opened = Mul (first, closed)
        weight = Add (opened, second)
        added = Mul (weight, n)
        kept = Mul (z, h)
        h_next = Add (added, kept)"""
    before = "bias_g, bias_u = Split <axis = 0, num_outputs = 2> (bias)"
    overload = fast_overload(activation, rank, gate=gate, has_h0=has_h0)
    return _function("FastGRNN", overload, rank, before, step, has_h0=has_h0)


def _function(name: str, overload: str, rank: str, before: str, step: str, *, has_h0: bool) -> FunctionProto:
    inputs = ["x", "input_weight", "recurrent_weight", "bias", "mix"]
    inputs += ["factor"] if rank == "low" else []
    inputs += ["h0"] if has_h0 else []
    product = "sum = Gemm <transB = 1> (h, recurrent_weight, driven_t)"
    if rank == "low":
        product = "inner = Gemm <transB = 1> (h, factor)\nsum = Gemm <transB = 1> (inner, recurrent_weight, driven_t)"
    start = ""
    if not has_h0:
        start = "state_shape = Shape <start = 1> (driven)\nh0 = ConstantOfShape <value = float[1] {0.0}> (state_shape)"
    gate = ", gate" if name == "FastGRNN" else ""
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "{overload}", opset_import: ["": {OPSET}]>
        {name} <activation, rank{gate}> ({", ".join(inputs)}) => (Y, Y_h)
        {{
            zero = Constant <value = float {{0.0}}> ()
            one = Constant <value = float {{1.0}}> ()
            two = Constant <value = float {{2.0}}> ()
            minus_one = Constant <value = float {{-1.0}}> ()
            first, second = Split <axis = 0, num_outputs = 2> (mix)
            columns = Transpose <perm = [1, 0]> (input_weight)
            driven = MatMul (x, columns)
            {before}
            {start}
            Y_h, Y = Scan <
                num_scan_inputs = 1,
                body = step (h, driven_t) => (h_next, y) {{
                    {product}
                    {step}
                    y = Identity (h_next)
                }}
            > (h0, driven)
        }}""")
