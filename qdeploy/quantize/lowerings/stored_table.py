"""How a table goes into the file: its entries, or a few of them where straight lines between them do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.runtime.straight_lines import on_straight_lines

SMALLEST = 1024
"""Tables of fewer entries are stored whole: the lines would save no more than the operator that draws them costs."""


def stored_table(graph: IntegerGraph, name: str, entries: NDArray[np.integer], bits: int) -> str:
    """Adds the table ``entries`` ``[S]`` with as few knots as do, and returns the name of the whole table.

    The lines do where no entry is further off than the rounding of the index puts it anyway, half of what lies between it and
    its neighbours, or one, or 2^-14 of the table's range.
    """
    knots = fewest_knots(entries) if entries.dtype == np.int16 and entries.size >= SMALLEST else None
    if knots is None:
        return graph.constant(name, entries, bits=bits)
    stored = f"{name}.knots"
    if stored not in graph.constants_info:
        graph.constant(stored, knots, bits=bits)
        graph.node("InterpolatedTable", [stored], [name], f"{name}.lines", bits=entries.size.bit_length() - 1)
    return name


def fewest_knots(entries: NDArray[np.integer]) -> NDArray[np.int16] | None:
    """The knots of a table of a power of two entries, None where lines between a quarter of the entries are too far off."""
    own = entries.astype(np.int64)
    around = np.concatenate([own[:1], own, own[-1:]])
    allowed = np.maximum(max(1, int(own.max() - own.min()) >> 14), np.abs(around[2:] - around[:-2]) // 4)
    apart = own.size // 2
    while apart >= 4:
        # The last line passes through the last entry, one before its end.
        end = round(int(own[-apart]) + int(own[-1] - own[-apart]) * apart / (apart - 1))
        knots = np.append(own[::apart], min(max(end, -(2**15)), 2**15 - 1))
        if (np.abs(on_straight_lines(knots, own.size) - own) <= allowed).all():
            return knots.astype(np.int16)
        apart //= 2
    return None
