"""Table: any function of one value, as its entries: 256 for 8 bits, up to 4096 for a wider index."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray, check_range
from qdeploy.runtime.ops.operator import Node, operator

MAX_INDEX_BITS = 12


@operator("Table", outputs=("y",))
def table(node: Node, x: IntArray, entries: IntArray) -> tuple[IntArray, ...]:
    """y = entries[x] of 8 bits; y = entries[x + 2^(n-1)] of a signed index of n bits.

    Args:
        x: uint8, any shape; or int16 in [-2^(n-1), 2^(n-1) - 1].
        entries: uint8 or int16 ``[256]``, for int16 ``[2^n]`` with n <= 12; made at export in float64 and rounded half
            away from zero.
    """
    node.require_dtype("x", x, np.uint8, np.int16)
    node.require_dtype("entries", entries, np.uint8, np.int16)
    if x.dtype == np.uint8:
        node.require_shape("entries", entries, 256)
        return (entries[x],)
    sizes = [2**n for n in range(1, MAX_INDEX_BITS + 1)]
    node.require(
        entries.ndim == 1 and entries.size in sizes,
        f"entries has shape {list(entries.shape)}; expected a power of two up to {sizes[-1]}.",
    )
    half = entries.size // 2
    check_range(x, -half, half - 1, f"node {node.name}, x")
    return (entries[x.astype(np.int32) + half],)
