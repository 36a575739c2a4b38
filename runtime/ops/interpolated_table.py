"""InterpolatedTable: a table of a few entries and the straight lines between them."""

from __future__ import annotations

import numpy as np

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator
from qdeploy.runtime.straight_lines import on_straight_lines

MAX_TABLE_BITS = 12


@operator("InterpolatedTable", outputs=("table",))
def interpolated_table(node: Node, knots: IntArray, *, bits: int) -> tuple[IntArray, ...]:
    """table[i d + k] = t_i + floor(((t_(i+1) - t_i) k + d/2) / d), 0 <= k < d = 2^(bits - n), t the 2^n + 1 knots.

    Args:
        knots: int16 ``[2^n + 1]``, n < bits: every d-th entry, and behind them where the last line ends.
        bits: of an index of the table, 1 to 12.

    Returns:
        int16 ``[2^bits]``. It depends on constants only, so runtimes fold it at load: operators read it like any table.
    """
    node.require_dtype("knots", knots, np.int16)
    node.require(1 <= bits <= MAX_TABLE_BITS, f"bits is {bits}; expected 1 to {MAX_TABLE_BITS}.")
    sizes = [2**n + 1 for n in range(bits)]
    node.require(
        knots.ndim == 1 and knots.size in sizes, f"knots has shape {list(knots.shape)}; expected one of {sizes}."
    )
    if "table" not in node.cache:
        node.cache["table"] = on_straight_lines(knots, 2**bits).astype(np.int16)
    return (node.cache["table"],)
