"""Matrices of which many weights are zero, as the kernels of sparse products read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qdeploy.runtime.numeric import IntArray

__all__ = ["SparseRows", "sparse_rows"]

_LONGEST_GAP = 255
_MOST_ENTRIES = 2**16 - 1


@dataclass(frozen=True)
class SparseRows:
    """The entries of a matrix that are not zero, row by row.

    Attributes:
        gaps: uint8 ``[E]``: how many columns lie between an entry and the one before it, or the row's beginning. A gap of
            more than 255 is an entry of the value 0 behind a gap of 255, and the rest.
        values: int8 ``[E]``.
        counts: uint16 ``[N]``: entries of each row.
    """

    gaps: NDArray[np.uint8]
    values: NDArray[np.int8]
    counts: NDArray[np.uint16]

    @property
    def nbytes(self) -> int:
        """What it takes in flash."""
        return self.gaps.nbytes + self.values.nbytes + self.counts.nbytes


def sparse_rows(weight: IntArray) -> SparseRows | None:
    """The form of an int8 matrix ``[N, K]``; None where a row has more entries than a count holds."""
    gaps: list[NDArray[np.int64]] = []
    values: list[NDArray[np.int8]] = []
    counts: list[int] = []
    for row in weight:
        places = np.flatnonzero(row)
        between = np.diff(places, prepend=-1) - 1
        # Each entry of value 0 leaps over 255 columns and stands on one itself.
        leaps = between // (_LONGEST_GAP + 1)
        ends = np.cumsum(leaps + 1) - 1
        size = len(places) + int(leaps.sum())
        own_gaps, own_values = np.full(size, _LONGEST_GAP, np.int64), np.zeros(size, np.int8)
        own_gaps[ends] = between % (_LONGEST_GAP + 1)
        own_values[ends] = row[places]
        gaps.append(own_gaps)
        values.append(own_values)
        counts.append(size)
    if max(counts) > _MOST_ENTRIES:
        return None
    return SparseRows(np.concatenate(gaps).astype(np.uint8), np.concatenate(values), np.array(counts, np.uint16))
