"""Finds in the numbers of a weight that it is made over an algebra: of few blocks that are repeated, with signs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .functions import GROUPINGS

__all__ = ["BlockAlgebra", "made_of", "repeated_blocks"]

Reals = NDArray[np.float32]

SIZES = (2, 3, 4, 8, 16)
"""Numbers of components that are looked for: complex numbers, vectors, quaternions, octonions, sedenions."""

WORTH = 0.75
"""A weight of components takes at most so much of what it takes as it is."""

LEAST_SAVED = 128
"""Numbers that have to be saved: a node and a table cost something, too, and of small blocks equal ones are chance."""

TOLERANCE = 2.0**-20
"""Of the sum of magnitudes: sums of products in float32, in whatever order, agree to so much."""


@dataclass(frozen=True)
class BlockAlgebra:
    """``weight = sum_i kron(a_i, s_i)``, rows and columns in one of two orders.

    Attributes:
        a: ``[d, P, U]``; of copied blocks -1, 0 and 1.
        s: ``[d, Q, V, *kernel]``.
        grouping, output_grouping: as of the float function ``HypercomplexMatrix``.
    """

    a: Reals
    s: Reals
    grouping: str
    output_grouping: str

    @property
    def numbers(self) -> int:
        """How many numbers of a byte it takes."""
        return int(self.a.size + self.s.size)


def repeated_blocks(weight: Reals) -> BlockAlgebra | None:
    """The fewest blocks that ``weight`` ``[N, K, *kernel]`` repeats, with signs and zeros between, or None.

    Every number is compared, to the last bit: what is found gives the weight back. A weight of zeros has no blocks.
    """
    best: BlockAlgebra | None = None
    for size, output_grouping, grouping in product(SIZES, GROUPINGS, GROUPINGS):
        if weight.shape[0] % size or weight.shape[1] % size:
            continue
        limit = min(weight.size * WORTH, weight.size - LEAST_SAVED)
        if best is not None:
            limit = min(limit, best.numbers - 1)
        blocks = _blocks(weight, size, grouping, output_grouping)
        found = _distinct(blocks, limit)
        if found is not None:
            best = BlockAlgebra(*found, grouping, output_grouping)
    return best


def made_of(weight: Reals, a: Reals, s: Reals) -> BlockAlgebra | None:
    """``a`` ``[n, n, n]`` and ``s`` ``[n, Q, V, *kernel]`` in the orientation that makes ``weight``, or None.

    A layer that multiplies from the other side has both of them transposed. The weight may differ by what float32 sums
    differ in another order.
    """
    for components, algebra in product(_orientations(s, s.ndim == 3), _orientations(a, True)):
        if weight.shape != (len(a) * components.shape[1], len(a) * components.shape[2], *components.shape[3:]):
            continue
        for output_grouping, grouping in product(GROUPINGS, GROUPINGS):
            blocks = _blocks(weight, len(a), grouping, output_grouping)
            wide = (algebra.astype(np.float64), components.astype(np.float64))
            sums = np.einsum("ipu,i...->pu...", *wide)
            reach = np.einsum("ipu,i...->pu...", *map(np.abs, wide)).max()
            if reach > 0 and np.abs(sums - blocks).max() <= TOLERANCE * reach:
                return BlockAlgebra(algebra, components, grouping, output_grouping)
    return None


def _orientations(array: Reals, both: bool) -> list[Reals]:
    return [array, np.swapaxes(array, 1, 2)] if both else [array]


def _blocks(weight: Reals, size: int, grouping: str, output_grouping: str) -> Reals:
    """``[size, size, Q, V, *kernel]``, by the components of the output and the input."""
    rows, columns, *kernel = weight.shape
    q, v = rows // size, columns // size
    split = weight.reshape(
        *((size, q) if output_grouping == "blocked" else (q, size)),
        *((size, v) if grouping == "blocked" else (v, size)),
        *kernel,
    )
    first = (0, 1) if output_grouping == "blocked" else (1, 0)
    second = (2, 3) if grouping == "blocked" else (3, 2)
    return split.transpose(first[0], second[0], first[1], second[1], *range(4, split.ndim))


def _distinct(blocks: Reals, limit: float) -> tuple[Reals, Reals] | None:
    """Signs and the distinct blocks where both take at most ``limit`` numbers; the first column's come first."""
    size, _, *shape = blocks.shape
    elements = int(np.prod(shape))
    most = int(limit // (elements + size * size))
    if most < 1:
        return None
    # The numbers at one place of all blocks are quickly counted, and no fewer blocks differ.
    for place in {0, elements // 2, elements - 1}:
        index: tuple[Any, ...] = (..., *np.unravel_index(place, shape))
        seen = np.unique(np.abs(blocks[index]))
        if np.count_nonzero(seen) > most:
            return None
    found: dict[bytes, int] = {}
    components: list[NDArray[Any]] = []
    signs = np.zeros((most, size, size), np.float32)
    for column, row in product(range(size), range(size)):
        # Zero has two signs; adding one of them leaves the other.
        block = np.ascontiguousarray(blocks[row, column]) + np.float32(0)
        filled = np.flatnonzero(block)
        if not filled.size:
            continue
        for sign in (1, -1):
            number = found.get((sign * block + np.float32(0)).tobytes())
            if number is not None:
                signs[number, row, column] = sign
                break
        else:
            if len(components) == most:
                return None
            number = found[block.tobytes()] = len(components)
            components.append(block)
            signs[number, row, column] = 1
    return (signs[: len(components)], np.stack(components)) if components else None
