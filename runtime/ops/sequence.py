"""What every recurrent operator demands of its sequence and of the state before the first step."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray, check_range
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.ops.output import output_dtype


def check_sequence(
    node: Node, x: IntArray, h0: IntArray, *, hidden: int, inputs: int, low: int, high: int, dtype: int
) -> np.dtype[np.integer]:
    """The type of the states.

    Args:
        x: uint8 or int16 ``[T, B, inputs]``, T >= 1.
        h0: ``[B, hidden]``, of the type that ``dtype`` names, in [low, high].

    Raises:
        ContractError: another type, shape or range.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require(x.ndim == 3 and x.size > 0, f"x has shape {list(x.shape)}; expected [T, B, {inputs}] with T >= 1.")
    node.require_shape("x", x, None, None, inputs)
    kind = output_dtype(node, dtype, low, high)
    node.require_dtype("h0", h0, kind.type)
    node.require_shape("h0", h0, x.shape[1], hidden)
    check_range(h0, low, high, f"node {node.name}, h0")
    return kind
