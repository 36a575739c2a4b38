"""ModRelu: sgn(x) max(|x| + b, 0), for a rectifier that stands alone."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("ModRelu", outputs=("y",))
def modrelu(node: Node, x: IntArray, bias: IntArray) -> tuple[IntArray, ...]:
    """y = clip(sgn(x) max(|x| + bias, 0), -2^15, 2^15 - 1); the scale stays, the zero point is 0.

    Args:
        x: int16 ``[..., H]``.
        bias: int32 ``[H]`` in steps of x's scale, |bias| < 2^24.

    Source: Arjovsky, Shah, Bengio, "Unitary Evolution Recurrent Neural Networks", equation 8, on real values; sgn(0) = 0.
    """
    node.require_dtype("x", x, np.int16)
    node.require_dtype("bias", bias, np.int32)
    node.require_shape("bias", bias, x.shape[-1])
    wide = x.astype(np.int32)
    y = np.sign(wide) * np.maximum(np.abs(wide) + bias, 0)
    return (np.clip(y, -(2**15), 2**15 - 1).astype(np.int16),)
