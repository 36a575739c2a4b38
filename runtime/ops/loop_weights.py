"""Weights of a recurrent layer whose gates lie one below the other: what every such operator asks of them."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node

__all__ = ["check_loop_weights"]


def check_loop_weights(
    node: Node, gates: int, *, input_weight: IntArray, recurrent_weight: IntArray, bias: IntArray
) -> int:
    """Refuses other types and shapes than int8 ``[G H, I]``, int8 ``[G H, H]`` and int32 ``[G H]``; gives H.

    Args:
        node: the layer.
        gates: G, 1 where the layer has none.
        input_weight, recurrent_weight, bias: its constants.
    """
    node.require_shape("recurrent_weight", recurrent_weight, None, None)
    hidden = int(recurrent_weight.shape[1])
    for name, value, kind, shape in (
        ("recurrent_weight", recurrent_weight, np.int8, (gates * hidden, hidden)),
        ("input_weight", input_weight, np.int8, (gates * hidden, None)),
        ("bias", bias, np.int32, (gates * hidden,)),
    ):
        node.require_dtype(name, value, kind)
        node.require_shape(name, value, *shape)
    return hidden
