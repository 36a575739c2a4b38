"""``qdeploy.float::ChannelAffine`` and ``QuaternionAffine``: what batch normalization is in evaluation.

``ChannelAffine``: ``y = scale x + shift`` for ``x: float[..., C, *S]``, ``scale, shift: float[C]``; ``trailing`` is the number of
axes S. Source: ``torch.nn.BatchNorm1d``, ``2d`` and ``3d``, ONNX ``BatchNormalization``.

``QuaternionAffine``: ``y = matrix x + shift`` for each quaternion of ``x: float[..., 4C, *S]``, channels blocked
[r…|i…|j…|k…], ``matrix: float[C, 4, 4]``, ``shift: float[4, C]``. Source: ``QuaternionWhiteningBatchNorm``.
"""

from __future__ import annotations

from onnx import FunctionProto, parser

from .domain import FLOAT_DOMAIN, OPSET

__all__ = ["TRAILING", "affine_overload", "channel_affine", "quaternion_affine"]

TRAILING = (0, 1, 2, 3)
"""A matrix or a sequence has no axis behind the channels, volumes have three."""


def affine_overload(trailing: int) -> str:
    """The overload of both functions."""
    return f"trailing_{trailing}"


def _header(name: str, trailing: int, inputs: str) -> str:
    return (
        f'<domain: "{FLOAT_DOMAIN}", overload: "{affine_overload(trailing)}", opset_import: ["": {OPSET}]>\n'
        f"{name} <trailing> ({inputs}) => (y)"
    )


def _behind(result: str, source: str, rank: int, trailing: int) -> str:
    """``source`` of ``rank`` axes with ``trailing`` axes of length 1 behind them."""
    if trailing == 0:
        return f"{result} = Identity ({source})"
    axes = ", ".join(str(rank + axis) for axis in range(trailing))
    return f"{result}_axes = Constant <value_ints = [{axes}]> ()\n{result} = Unsqueeze ({source}, {result}_axes)"


def channel_affine(trailing: int) -> FunctionProto:
    """The function ``ChannelAffine`` for ``trailing`` axes behind the channels."""
    return parser.parse_function(f"""
        {_header("ChannelAffine", trailing, "x, scale, shift")}
        {{
            {_behind("factor", "scale", 1, trailing)}
            {_behind("constant", "shift", 1, trailing)}
            product = Mul (x, factor)
            y = Add (product, constant)
        }}""")


def quaternion_affine(trailing: int) -> FunctionProto:
    """The function ``QuaternionAffine`` for ``trailing`` axes behind the channels."""
    steps = []
    for part in range(4):
        steps.append(f"at{part} = Constant <value_int = {part}> ()")
        steps.append(f"m{part} = Gather <axis = 0> (columns, at{part})")
        steps.append(f"x{part}_all = Unsqueeze (x{part}, outputs_axis)")
        steps.append(f"p{part} = Mul (x{part}_all, m{part})")
        steps.append(f"sum{part + 1} = Add (sum{part}, p{part})")
    body = "\n".join(steps)
    return parser.parse_function(f"""
        {_header("QuaternionAffine", trailing, "x, matrix, shift")}
        {{
            ordered = Transpose <perm = [2, 1, 0]> (matrix)
            {_behind("columns", "ordered", 3, trailing)}
            {_behind("sum0", "shift", 2, trailing)}
            x0, x1, x2, x3 = Split <axis = {-1 - trailing}, num_outputs = 4> (x)
            outputs_axis = Constant <value_ints = [{-2 - trailing}]> ()
            {body}
            shape = Shape (x)
            y = Reshape (sum4, shape)
        }}""")
