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

_LEAST_COLUMNS = 16
"""A look-up with its product and sum takes 2.9 ns, a weight of a whole matrix 0.09 ns for each of a state's two digits."""


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
        columns, values: ``[H, k]``: where each row's weights stand that are not 0, and what they are; k is the most that a row
            has, others are filled with zeros.
        rest: int64 ``[H]``: what W (x - zero_point) has besides W x.
    """

    columns: IntArray
    values: IntArray
    rest: IntArray
    digits: _Whole

    @classmethod
    def of(cls, weight: IntArray, zero_point: int) -> SparseProduct | None:
        """Of a weight ``[H, H]`` and the zero point of what it is multiplied by; None if a row has too many that are not 0."""
        longest = max(1, int(np.count_nonzero(weight, axis=1).max()))
        if longest * _LEAST_COLUMNS > len(weight):
            return None
        # A stable sort keeps the rising order of the columns.
        columns = np.argsort(weight == 0, axis=1, kind="stable")[:, :longest]
        values = np.take_along_axis(weight, columns, axis=1).astype(np.int64)
        return cls(columns, values, -zero_point * weight.astype(np.int64).sum(axis=1), _Whole())

    def of_digits(self, code: Code, digits: list[Value]) -> Value:
        """int32 ``[1, H]`` from the state ``[1, H]``, without the rest."""
        hidden, longest = self.columns.shape
        state = code.reshape(digits[0], (hidden,))
        kind = np.int16 if hidden <= 2**15 else np.int32
        taken = code.gather(state, code.subgraph.constant(self.columns.reshape(-1), kind))
        products = code.multiply(taken, self.values.reshape(-1))
        if longest > 1:
            products = code.reduce("SUM", code.reshape(products, (hidden, longest)), 1)
        return code.reshape(products, (1, hidden))
