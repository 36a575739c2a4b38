"""Products of a state with a matrix of mostly zeros, as delay lines are: the file has what is not zero, and only that is read.

The state stays int32, without digits: a look-up of the columns, a product, a sum for each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["SparseProduct"]

_LEAST_ZEROS = 32
"""A dense product takes 0.09 ns a weight and digit, a look-up with its product and sum about 6 ns; and 10 bytes, not one."""


class _Whole:
    """In place of digits: the int32 state as it is."""

    def split(self, code: Code, x: Value) -> list[Value]:
        """The state itself."""
        del code
        return [x]

    def joined(self, code: Code, digits: list[Value]) -> Value:
        """The state itself."""
        del code
        return digits[0]


@dataclass(frozen=True)
class SparseProduct:
    """W x as :class:`~qdeploy.export.tflite.product.MatrixProduct`.

    Attributes:
        rows, columns, values: of every weight that is not 0, by rising row; of a row of nothing one weight of 0.
        hidden: H.
        rest: int64 ``[H]``: what W (x - zero_point) has besides W x.
    """

    rows: IntArray
    columns: IntArray
    values: IntArray
    hidden: int
    rest: IntArray
    digits: _Whole

    @classmethod
    def of(cls, weight: IntArray, zero_point: int) -> SparseProduct | None:
        """Of a weight ``[H, H]`` and the zero point of what it is multiplied by; None if too many weights are not 0."""
        hidden = len(weight)
        if np.count_nonzero(weight) * _LEAST_ZEROS > weight.size:
            return None
        # Sums are of segments that follow each other: a row of nothing has a weight of 0.
        empty = np.flatnonzero(~weight.any(axis=1))
        rows, columns = (np.concatenate(pair) for pair in zip(np.nonzero(weight), (empty, empty), strict=True))
        order = np.argsort(rows, kind="stable")
        rows, columns = rows[order], columns[order]
        rest = -zero_point * weight.astype(np.int64).sum(axis=1)
        return cls(rows, columns, weight[rows, columns].astype(np.int64), hidden, rest, _Whole())

    def of_digits(self, code: Code, digits: list[Value]) -> Value:
        """int32 ``[1, H]`` from the state ``[1, H]``, without the rest."""
        state = code.reshape(digits[0], (self.hidden,))
        taken = code.gather(state, code.subgraph.constant(self.columns, np.int16 if self.hidden <= 2**15 else np.int32))
        products = code.multiply(taken, self.values)
        if not np.array_equal(self.rows, np.arange(self.hidden)):
            products = code.segment_sum(products, self.rows)
        return code.reshape(products, (1, self.hidden))
