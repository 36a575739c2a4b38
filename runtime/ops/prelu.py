"""PRelu: a rectifier with a slope for negative values, one for all or one for each channel."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray, requantize
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.ops.output import cast_output


@operator("PRelu", outputs=("y",))
def prelu(
    node: Node,
    x: IntArray,
    slopes: IntArray,
    *,
    x_zero_point: int,
    multiplier: int,
    shift: int,
    y_zero_point: int,
    low: int,
    high: int,
    dtype: int,
) -> tuple[IntArray, ...]:
    """y = clip(round((max(d, 0) * multiplier + min(d, 0) * slopes[c]) / 2^shift) + y_zero_point, low, high), half up.

    d is x - x_zero_point, c the channel, the second axis.

    Args:
        x: uint8 or int16 ``[B, C, ...]``.
        slopes: int32 ``[1]`` or ``[C]``, of any sign: the slope times what stands in ``multiplier``.
        x_zero_point: the x that means 0; 0 for int16.
        multiplier: of positive values, 1 to 2^31 - 1.
        shift: 0 to 46.
        y_zero_point, low, high: zero point and inclusive bounds of y.
        dtype: ONNX element type of y: 2 uint8, 5 int16.

    The float layers are torch.nn.LeakyReLU and PReLU, ONNX LeakyRelu and PRelu; of 8 bits with one slope they are a table.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require_dtype("slopes", slopes, np.int32)
    node.require(x.ndim > 1, f"x has shape {list(x.shape)}; expected samples, channels and any axes behind.")
    node.require(
        slopes.shape in ((1,), x.shape[1:2]), f"slopes has shape {list(slopes.shape)}; expected [1] or [{x.shape[1]}]."
    )
    node.require(0 < multiplier < 2**31, f"multiplier={multiplier}; expected a positive number of at most 31 bits.")
    centred = x.astype(np.int64) - x_zero_point
    factors = slopes.astype(np.int64).reshape(1, -1, *[1] * (x.ndim - 2))
    total = np.maximum(centred, 0) * multiplier + np.minimum(centred, 0) * factors
    y = requantize(total, 1, shift, y_zero_point, low, high)
    return (cast_output(node, y, y_zero_point, low, high, dtype),)
