"""``qdeploy.float::Linear``: ``y = x W^T + b``.

``x: float[..., K]``, ``weight: float[N, K]``, ``bias: float[N]`` (overload ``bias``, absent in overload ``no_bias``),
``y: float[..., N]``. Source: ``torch.nn.Linear``.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["linear"]


def linear(*, has_bias: bool) -> FunctionProto:
    """The function ``Linear``, in its overload with or without a bias."""
    if has_bias:
        return parser.parse_function(f"""
            <domain: "{FLOAT_DOMAIN}", overload: "bias", opset_import: ["": {OPSET}]>
            Linear (x, weight, bias) => (y)
            {{
                columns = Transpose <perm = [1, 0]> (weight)
                product = MatMul (x, columns)
                y = Add (product, bias)
            }}""")
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", overload: "no_bias", opset_import: ["": {OPSET}]>
        Linear (x, weight) => (y)
        {{
            columns = Transpose <perm = [1, 0]> (weight)
            y = MatMul (x, columns)
        }}""")
