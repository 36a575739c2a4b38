"""Table: any function of an 8-bit value, as 256 entries."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator


@operator("Table", outputs=("y",))
def table(node: Node, x: IntArray, entries: IntArray) -> tuple[IntArray, ...]:
    """y = entries[x].

    Args:
        x: uint8, any shape.
        entries: uint8 or int16 ``[256]``, made at export in float64 and rounded half away from zero.
    """
    node.require_dtype("x", x, np.uint8)
    node.require_dtype("entries", entries, np.uint8, np.int16)
    node.require_shape("entries", entries, 256)
    return (entries[x],)
