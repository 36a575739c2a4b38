"""``qdeploy.float::ModRelu``: ``y = sgn(x) * max(|x| + b, 0)``, sgn 0 = 0.

``x: float[..., H]``, ``bias: float[H]``, ``y: float[..., H]``. The 1e-6 of the authors' code is part of ``bias``.
Source: Foucault, Mamalet, Malgouyres, arXiv 2402.04012 (the real form of Arjovsky et al., arXiv 1511.06464).
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["modrelu", "modrelu_text"]


def modrelu_text(x: str, bias: str, y: str) -> str:
    """The nodes that compute ``y`` from ``x`` and ``bias``, in ONNX text; also the end of the loop of ``RNN``."""
    return f"""
        sign = Sign ({x})
        modulus = Abs ({x})
        shifted = Add (modulus, {bias})
        rectified = Relu (shifted)
        {y} = Mul (sign, rectified)"""


def modrelu() -> FunctionProto:
    """The function ``ModRelu``; it has one overload, the empty one."""
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", opset_import: ["": {OPSET}]>
        ModRelu (x, bias) => (y)
        {{{modrelu_text("x", "bias", "y")}
        }}""")
