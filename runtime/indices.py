"""Indices that go into a model: whole numbers that count a table's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["LARGEST_TABLE", "check_indices"]

LARGEST_TABLE = 1 << 24
"""Rows of an embedding's table, at most."""


def check_indices(array: NDArray[Any], count: int, what: str) -> None:
    """Refuses what is no index into a table of ``count`` rows.

    Args:
        array: of any shape.
        count: the rows of the smallest table that the indices go into.
        what: names the array in errors.

    Raises:
        InvalidInputError: another type than integers, or the first index outside, with its place.
    """
    if array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"{what}: found type {array.dtype}, expected integers 0 … {count - 1}, the rows of an embedding's table"
        )
    outside = (array < 0) | (array >= count)
    if outside.any():
        place = [int(axis[0]) for axis in np.nonzero(outside)]
        raise InvalidInputError(
            f"{what}: found index {int(array[outside][0])} at {place}, expected 0 … {count - 1}: the embedding's table has "
            f"{count} rows; give another index for what the table does not know"
        )
