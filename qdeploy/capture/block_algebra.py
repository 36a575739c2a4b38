"""Finds in the numbers of a weight that it is made over an algebra: of few blocks, repeated with signs or mixed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .functions import GROUPINGS

__all__ = ["BlockAlgebra", "learned_blocks", "repeated_blocks"]

Reals = NDArray[np.float32]

SIZES = (2, 3, 4, 8, 16)
"""Numbers of components that are looked for: complex numbers, vectors, quaternions, octonions, sedenions."""

WORTH = 0.75
"""A weight of components takes at most so much of what it takes as it is."""

WORTH_ROUNDING = 0.6
"""The same of components that are mixed: their integers are rounded once more."""

LEAST_SAVED = 128
"""Numbers that have to be saved: a node and a table cost something, too, and of small blocks equal ones are chance."""

LARGEST_RANK = 256
"""Components of the operator ``HypercomplexMatrix``."""

LARGEST_NOISE = 2.0**-22
"""Of numbers that a few roundings to float32 made, against the largest of them."""

TOLERANCE = 2.0**-20
"""Against the largest number of a weight: what float32 sums in another order may differ by."""


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


def learned_blocks(weight: Reals) -> BlockAlgebra | None:
    """The smallest learned algebra that ``weight`` ``[N, K, *kernel]`` is made over, found by its rank, or None.

    Block (p, u) of a matrix over an algebra of d components is a sum of d matrices: of the n^2 blocks, as vectors, no more
    than d are linearly independent. The components that are found are sums of those that were trained, orthogonal to each
    other and as good to quantize; the matrix is the same, to 2^-20 of its largest number.
    """
    best: BlockAlgebra | None = None
    for size, output_grouping, grouping in product(SIZES, GROUPINGS, GROUPINGS):
        if weight.shape[0] % size or weight.shape[1] % size:
            continue
        limit = min(weight.size * WORTH_ROUNDING, weight.size - LEAST_SAVED)
        if best is not None:
            limit = min(limit, best.s.size + 2 * best.a.size - 1)
        blocks = _blocks(weight, size, grouping, output_grouping)
        elements = int(np.prod(blocks.shape[2:]))
        # An algebra's elements take two bytes.
        most = min(int(limit // (elements + 2 * size * size)), LARGEST_RANK)
        places = np.unique(np.linspace(0, elements - 1, 2 * size * size).astype(np.int64))
        index: tuple[Any, ...] = (slice(None), slice(None), *np.unravel_index(places, blocks.shape[2:]))
        if most < 1 or _rank(blocks[index].reshape(size * size, -1), most) is None:
            continue
        found = _factors(blocks.reshape(size * size, -1), most)
        if found is not None:
            a, s = (
                factor.reshape(-1, *shape)
                for factor, shape in zip(found, (blocks.shape[:2], blocks.shape[2:]), strict=True)
            )
            best = BlockAlgebra(a, s, grouping, output_grouping)
    return best


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


def _rank(vectors: Reals, most: int) -> tuple[int, NDArray[np.float64]] | None:
    """How many of ``vectors`` ``[n, M]`` are independent, at most ``most``, and directions ``[n, n]``, theirs last; or None.

    Eigenvalues are squares of lengths, of which float64 leaves 2^-26 of the largest, less than float32 rounded before.
    """
    if most >= min(vectors.shape):
        return None
    wide = vectors.astype(np.float64)
    lengths, directions = np.linalg.eigh(wide @ wide.T)
    noise = np.square(LARGEST_NOISE * np.abs(wide).max()) * wide.size
    count = int(np.count_nonzero(lengths > noise))
    return (count, directions) if 1 <= count <= most else None


def _factors(vectors: Reals, most: int) -> tuple[Reals, Reals] | None:
    """Factors ``[d, n]`` and ``[d, M]`` whose product is ``vectors`` ``[n, M]``, d at most ``most``, or None."""
    ranked = _rank(vectors, most)
    if ranked is None:
        return None
    count, directions = ranked
    a = directions[:, ::-1][:, :count].T.astype(np.float32)
    s = (a.astype(np.float64) @ vectors).astype(np.float32)
    error = np.abs(a.T.astype(np.float64) @ s - vectors).max()
    return (a, s) if error <= TOLERANCE * np.abs(vectors).max() else None
