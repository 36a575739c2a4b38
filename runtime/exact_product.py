"""The integer product with a constant matrix, by the cheapest way that is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.hamilton_product import HamiltonProduct
from qdeploy.runtime.numeric import IntArray, exact_matmul, product_bound, product_type
from qdeploy.runtime.sparse_product import SparseProduct, sparse_product_is_faster

__all__ = ["ExactProduct", "eight_products_are_faster"]

_LEAST_SIZE = 2**19
_FEW_ROWS = 32
_LEAST_REUSE = {True: 200, False: 320}


def eight_products_are_faster(rows: int, outputs: int, inputs: int) -> bool:
    """Whether a Hamilton matrix ``[outputs, inputs]`` is multiplied faster by ``HamiltonProduct`` than as a whole.

    It has half the multiplications and half the memory, and pays for it with sums of inputs and of products, a few for each
    input and output: so matrices must be large, and narrow ones do not gain. What few rows gain is memory, for which
    narrower ones suffice. Measured with NumPy's OpenBLAS, one thread (docs/fast_product.md).
    """
    reuse = outputs * inputs / (outputs + inputs)
    return outputs * inputs >= _LEAST_SIZE and reuse >= _LEAST_REUSE[rows <= _FEW_ROWS]


class ExactProduct:
    """``x @ weight.T`` for a constant int8 matrix.

    Attributes:
        weight: ``[N, K]``.
        bound: of every partial sum's absolute value.
    """

    def __init__(self, weight: IntArray, low: int, high: int) -> None:
        """Of int8 ``[N, K]`` and the inclusive bounds of the inputs."""
        self.weight = weight
        self.bound = product_bound(weight, max(abs(low), abs(high)))
        self._bounds = (low, high)
        # Each is made when it is first needed: a session has one batch size, as a rule.
        self._whole: NDArray[Any] | None = None
        self._eight: HamiltonProduct | None = None
        self._eight_tried = False
        self._nonzero = int(np.count_nonzero(weight))
        self._sparse: SparseProduct | None = None

    def __call__(self, x: IntArray) -> NDArray[np.int64]:
        """int64 ``[..., N]`` of integers ``[..., K]`` within the bounds."""
        outputs, inputs = self.weight.shape
        rows = x.reshape(-1, inputs)
        if sparse_product_is_faster(len(rows), self.weight.size, self._nonzero):
            if self._sparse is None:
                self._sparse = SparseProduct(self.weight, self.bound)
            return self._sparse(rows.astype(np.int32, copy=False)).reshape(*x.shape[:-1], outputs)
        if eight_products_are_faster(len(rows), outputs, inputs):
            if not self._eight_tried:
                self._eight = HamiltonProduct.of(self.weight, *self._bounds)
                self._eight_tried = True
            if self._eight is not None:
                return self._eight(rows).reshape(*x.shape[:-1], outputs)
        if self._whole is None:
            self._whole = np.ascontiguousarray(self.weight.T.astype(product_type(self.bound)))
        return exact_matmul(x, self._whole, self.bound)
