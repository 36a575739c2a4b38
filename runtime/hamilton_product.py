"""The Hamilton product with 8 instead of 16 real multiplications, for a constant matrix of quaternions.

Of quaternions (w1, x1, y1, z1), here the weights, and (w2, x2, y2, z2), here the inputs, the eight products are

    A = (w1 + x1)(w2 + x2)   B = (z1 - y1)(y2 - z2)   C = (w1 - x1)(y2 + z2)   D = (y1 + z1)(w2 - x2)
    E = (x1 + z1)(x2 + y2)   F = (x1 - z1)(x2 - y2)   G = (w1 + y1)(w2 - z2)   H = (w1 - y1)(w2 + z2)

and the Hamilton product is

    w = B + (-E - F + G + H) / 2   x = A - (E + F + G + H) / 2
    y = C + ( E - F + G - H) / 2   z = D + (E - F - G + H) / 2

Every halved sum is even, since E + F = 2 (x1 x2 + z1 y2), E - F = 2 (x1 y2 + z1 x2), G + H = 2 (w1 w2 - y1 z2) and
G - H = 2 (y1 w2 - w1 z2): the result is exact in integers. The same holds for sums over quaternions, so that a layer is
eight matrix products of a quarter of the columns by a quarter of the rows. Source: Howell and Lafon, "The complexity of the
quaternion product", Cornell University TR 75-245, 1975.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray, product_bound, product_type

__all__ = ["HamiltonProduct", "components_of"]

_ROWS = 256
"""So many inputs at a time: their pre-sums and products stay in the processor's cache."""

_WEIGHTS = ((0, 1, 1), (3, 2, -1), (0, 1, -1), (2, 3, 1), (1, 3, 1), (1, 3, -1), (0, 2, 1), (0, 2, -1))
"""The left factors of A to H: a part, another one, and its sign; parts are w, x, y, z."""

_INPUTS = ((0, 1, 1), (2, 3, -1), (2, 3, 1), (0, 1, -1), (1, 2, 1), (1, 2, -1), (0, 3, -1), (0, 3, 1))
"""The right factors of A to H."""

_HALVED = 4
"""From E on, products only enter halved sums."""


@dataclass(frozen=True)
class HamiltonProduct:
    """``weight @ x`` for a real matrix ``[N, K]`` that is a Hamilton matrix, in eight products.

    Attributes:
        factors: pre-sums of the weights ``[8, K/4, N/4]`` in a floating-point type in which all is exact; those of E to H
            are halved, which costs nothing and is exact too: multiples of 1/2 have the same bits as integers.
        grouping: how the inputs hold their quaternions, ``blocked`` or ``adjacent``.
    """

    factors: NDArray[Any]
    grouping: str

    @classmethod
    def of(cls, weight: IntArray, low: int, high: int) -> HamiltonProduct | None:
        """Of a matrix and the bounds of the inputs; None where it is no Hamilton matrix or would need a wider type.

        Args:
            weight: int8 ``[N, K]``.
            low, high: inclusive bounds of every input.

        The type is the narrowest in which ``weight @ x`` itself is exact. Each of the eight products is bounded by
        its own factors; what is made of them is not larger than a row of ``weight @ x`` with all its terms made positive,
        since (E + F) / 2 and the like are two of its four blocks.
        """
        found = components_of(weight)
        if found is None:
            return None
        parts, grouping = found
        largest = max(abs(low), abs(high))
        bound = product_bound(weight, largest)
        wide = parts.astype(np.int16)
        sums = np.stack([wide[one] + sign * wide[other] for one, other, sign in _WEIGHTS])
        reaches = (2 * largest if sign > 0 else high - low for _, _, sign in _INPUTS)
        reach = max(bound, *map(product_bound, sums, reaches))
        kind = product_type(bound)
        if kind is np.int64 or product_type(reach) is not kind:
            return None
        factors = np.ascontiguousarray(sums.transpose(0, 2, 1).astype(kind))
        factors[_HALVED:] /= 2
        return cls(factors, grouping)

    def __call__(self, rows: IntArray) -> NDArray[np.int64]:
        """``rows @ weight.T``.

        Args:
            rows: integers ``[R, K]`` within the bounds.

        Returns:
            int64 ``[R, N]``.
        """
        result = np.empty((len(rows), 4 * self.factors.shape[2]), np.int64)
        for start in range(0, len(rows), _ROWS):
            self._multiply(rows[start : start + _ROWS], result[start : start + _ROWS])
        return result

    def _multiply(self, rows: IntArray, result: NDArray[np.int64]) -> None:
        _, quaternions, outputs = self.factors.shape
        kind = self.factors.dtype
        real = rows.astype(kind)
        parts = np.split(real, 4, axis=1) if self.grouping == "blocked" else [real[:, place::4] for place in range(4)]
        sums = np.empty((8, len(rows), quaternions), kind)
        for right, (one, other, sign) in zip(sums, _INPUTS, strict=True):
            (np.add if sign > 0 else np.subtract)(parts[one], parts[other], out=right)
        a, b, c, d, e, f, g, h = np.matmul(sums, self.factors)
        ef_sum, gh_sum = e + f, g + h
        ef_difference, gh_difference = np.subtract(e, f, out=e), np.subtract(g, h, out=g)
        w, x, y, z = (result[:, place * outputs : (place + 1) * outputs] for place in range(4))
        b += gh_sum - ef_sum
        w[...] = b
        ef_sum += gh_sum
        a -= ef_sum
        x[...] = a
        c += ef_difference + gh_difference
        y[...] = c
        ef_difference -= gh_difference
        d += ef_difference
        z[...] = d


def components_of(weight: IntArray) -> tuple[IntArray, str] | None:
    """The components ``[4, N/4, K/4]`` of a real matrix that is a Hamilton matrix, and its grouping; else None.

    The numbers alone decide, so that a matrix is found whether a file holds it as components or in full.

    Args:
        weight: int8 ``[N, K]``.
    """
    outputs, inputs = weight.shape
    if outputs % 4 or inputs % 4 or not weight.size or int(weight.min()) == -128:
        return None
    by_part = weight.reshape(4, outputs // 4, inputs)
    for grouping in ("blocked", "adjacent"):
        if grouping == "blocked":
            blocks = by_part.reshape(4, outputs // 4, 4, inputs // 4).transpose(0, 2, 1, 3)
        else:
            blocks = by_part.reshape(4, outputs // 4, inputs // 4, 4).transpose(0, 3, 1, 2)
        # The first column of blocks holds the components; the others repeat them.
        r, i, j, k = blocks[:, 0]
        repeated = ((r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r))
        if all(np.array_equal(blocks[row, column], repeated[row][column]) for column in (1, 2, 3) for row in range(4)):
            return blocks[:, 0], grouping
    return None
