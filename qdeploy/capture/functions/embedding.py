"""``qdeploy.float::Embedding``: ``y = table[indices]``.

``indices: int32 or int64[...]``, each in [0, V - 1], ``table: float[V, D]``, ``y: float[..., D]``.
Source: ``torch.nn.Embedding``, ONNX ``Gather`` on axis 0.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["embedding"]


def embedding() -> FunctionProto:
    """The function ``Embedding``."""
    return parser.parse_function(f"""
        <domain: "{FLOAT_DOMAIN}", opset_import: ["": {OPSET}]>
        Embedding (indices, table) => (y)
        {{
            y = Gather <axis = 0> (table, indices)
        }}""")
