"""The integer product of one row with a matrix that is mostly zero: only what is not zero is read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray

__all__ = ["SparseProduct", "sparse_product_is_faster"]

_LEAST_SIZE = 2**19
_LEAST_ZEROS = 32


def sparse_product_is_faster(rows: int, size: int, nonzero: int) -> bool:
    """Whether ``rows`` rows are multiplied faster by ``SparseProduct`` than by the dense matrix of ``size`` weights.

    A gathered product takes NumPy about 3 ns, BLAS streams a weight in 0.05 to 0.15 ns: of large matrices, which no cache
    holds, one in 32 may be other than zero. Several rows share what BLAS reads, and never gain. Leaving out rows and columns
    that are all zero gained nothing either: a pruned layer has few of them. Measured with NumPy's OpenBLAS, one thread
    (docs/pruning.md).
    """
    return rows == 1 and size >= _LEAST_SIZE and nonzero * _LEAST_ZEROS <= size


class SparseProduct:
    """``x @ weight.T`` for one row: products of the weights that are not zero, summed by output."""

    def __init__(self, weight: IntArray, bound: int) -> None:
        """Of int8 ``[N, K]`` and the largest absolute value of every partial sum."""
        rows, self._columns = np.nonzero(weight)
        self._outputs = len(weight)
        # Sums in int32 where these cannot wrap; products always fit.
        self._kind: type[np.signedinteger] = np.int32 if bound < 2**31 else np.int64
        self._values = weight[rows, self._columns].astype(np.int32)
        self._starts = np.flatnonzero(np.diff(rows, prepend=-1))
        self._written = rows[self._starts]

    def __call__(self, row: IntArray) -> NDArray[np.int64]:
        """int64 ``[1, N]`` of int32 ``[1, K]``."""
        found = np.zeros((1, self._outputs), np.int64)
        if len(self._starts):
            products = row[0, self._columns] * self._values
            found[0, self._written] = np.add.reduceat(products, self._starts, dtype=self._kind)
        return found
