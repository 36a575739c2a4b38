"""Linear: a fully connected layer, from integers to integers."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.exact_product import ExactProduct
from qdeploy.runtime.numeric import IntArray, check_int32
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output
from qdeploy.runtime.ops.rounded import check_reach, require_rule
from qdeploy.runtime.rounding import HALF_UP, requantize


@operator("Linear", outputs=("y",))
def linear(
    node: Node,
    x: IntArray,
    weight: IntArray,
    bias: IntArray,
    multiplier: IntArray,
    *,
    x_zero_point: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
    rounding: str = HALF_UP,
) -> tuple[IntArray, ...]:
    """y = clip(round((W (x - x_zero_point) + bias) * multiplier / 2^shift) + y_zero_point, low, high).

    Args:
        x: uint8 or int16 ``[..., K]``.
        weight: int8 ``[N, K]``, zero point 0.
        bias: int32 ``[N]`` at the accumulator's scale, scale_x * scale_weight.
        multiplier: int32 ``[1]`` or ``[N]``; with ``shift`` it stands for scale_x * scale_weight / scale_y, times the factor of
            a batch normalization, which may be negative.
        x_zero_point: the x that means 0; 0 for int16.
        shift: 0 to 46.
        y_zero_point, low, high: zero point and inclusive bounds of y. ReLU is ``low == y_zero_point``: what is
            clipped is the result.
        dtype: ONNX element type of y: 2 uint8, 5 int16, 6 int32.
        rounding: the rule by which ``round`` goes; a node without it has ``half_up``. ``half_even``, ties to even, is what
            kernels in single precision do: uint8 to uint8, multipliers positive, and every |acc| whose result does not
            saturate, times the odd part of its multiplier, below 2^24.
            For the others see ``runtime.rounding``: uint8 to uint8 and positive multipliers too.

    The accumulator is int32 and exact: |acc| <= max|x - x_zero_point| * sum|W| + |bias| < 2^31.
    The float layer is torch.nn.Linear, ONNX Gemm with transB=1.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    if "product" not in node.cache:
        node.require_dtype("weight", weight, np.int8)
        node.require_shape("weight", weight, None, None)
        outputs = weight.shape[0]
        node.require_dtype("bias", bias, np.int32)
        node.require_shape("bias", bias, outputs)
        node.require_dtype("multiplier", multiplier, np.int32)
        node.require(multiplier.shape in ((1,), (outputs,)), f"multiplier has shape {list(multiplier.shape)}.")
        held = np.iinfo(x.dtype)
        product = ExactProduct(weight, held.min - x_zero_point, held.max - x_zero_point)
        require_rule(node, rounding)
        check_reach(
            node,
            rounding,
            x=x,
            weight=weight,
            bias=bias,
            multiplier=multiplier,
            x_zero_point=x_zero_point,
            shift=shift,
            dtype=dtype,
        )
        node.cache["product"] = product
        node.cache["proven"] = product.bound + int(np.abs(bias.astype(np.int64)).max()) < 2**31
    node.require(
        x.ndim >= 2 and x.size > 0, f"x has shape {list(x.shape)}; expected [..., {weight.shape[1]}], not empty."
    )
    node.require_shape("x", x.reshape(-1, x.shape[-1]), None, weight.shape[1])
    centred = x.astype(np.int32) - x_zero_point
    accumulator = node.cache["product"](centred)
    accumulator += bias
    if not node.cache["proven"]:
        check_int32(accumulator, f"node {node.name}")
    y = requantize(accumulator, multiplier, shift, y_zero_point, low, high, rounding=rounding)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
