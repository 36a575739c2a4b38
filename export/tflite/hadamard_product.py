"""Products with signs times Hadamard blocks: two small factors in place of the matrix, which is far larger than the model.

A Sylvester matrix of a b units is the Kronecker product of those of a and b: with the units of a block as a matrix X [a, b],
S X is S_a X S_b. The first product gives int32 sums, whose int8 digits the second one takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.export.tflite.product import Digits
from qdeploy.runtime.ops.hadamard_matrix import hadamard_signs, hadamard_transform

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["HadamardProduct"]

_WIDE = Digits(wide=True, constant=128)
"""Of the first product's sums, which fit 16 bits."""


@dataclass(frozen=True)
class HadamardProduct:
    """W x for W = diag(u) blockdiag(S_B, ..., S_B) and digits of x, as :class:`~qdeploy.export.tflite.product.MatrixProduct`.

    Attributes:
        signs: u, int64 ``[H]``.
        left, right: a and b, whose product is B; a is 1 where one product does.
        digits: of x.
        rest: int64 ``[H]``: what W (x - zero_point) has besides what :meth:`of_digits` gives.
    """

    signs: IntArray
    left: int
    right: int
    digits: Digits
    rest: IntArray

    @classmethod
    def of(cls, weight: IntArray, dtype: np.dtype[Any], zero_point: int, low: int, high: int) -> HadamardProduct | None:
        """Of a weight ``[H, H]``, and of what it is multiplied by: type, zero point, bounds. None for another weight."""
        found = hadamard_signs(weight)
        if found is None:
            return None
        signs, block = found
        digits = Digits.of(dtype)
        reach = max(abs(low - digits.constant), abs(high - digits.constant))
        right = _right_factor(block, reach)
        left = block // right
        rest = weight.astype(np.int64).sum(axis=1) * (digits.constant - zero_point)
        if left > 1:
            # S_a times a constant is a times it in the first of its a rows, and nothing in the others.
            first = (np.arange(len(weight)) % block < right) * left * _WIDE.constant
            rest = rest + signs * first
        return cls(signs.astype(np.int64), left, right, digits, rest)

    def of_digits(self, code: Code, digits: list[Value]) -> Value:
        """int32 ``[1, H]`` from int8 digits ``[1, H]``, without the rest."""
        hidden = self.signs.size
        rows = hidden // self.right
        right = code.subgraph.constant(_sylvester(self.right), np.int8)
        products = [code.matmul(code.reshape(digit, (rows, self.right)), right) for digit in digits]
        sums = _joined(code, self.digits, products)
        if self.left > 1:
            left = code.subgraph.constant(_sylvester(self.left)[None], np.int8)
            shape = (hidden // (self.left * self.right), self.left, self.right)
            parts = _WIDE.split(code, code.reshape(sums, shape))
            sums = _joined(code, _WIDE, [code.subgraph.add("BATCH_MATMUL", [left, p], np.int32, shape) for p in parts])
        return code.multiply(code.reshape(sums, (1, hidden)), self.signs)


def _joined(code: Code, digits: Digits, products: list[Value]) -> Value:
    return code.total(code.multiply(value, scale) for scale, value in zip(digits.scales, products, strict=True))


def _right_factor(block: int, reach: int) -> int:
    """b: the largest power of two up to the square root of B whose sums fit 16 bits; B itself where none is above 1."""
    fitting = [2**n for n in range(1, block.bit_length()) if 4**n <= block and reach << n < 2**15]
    # Few units are one product: it is smaller than the operators of two.
    return block if block <= _ONE_PRODUCT or not fitting else fitting[-1]


_ONE_PRODUCT = 32


def _sylvester(size: int) -> IntArray:
    return hadamard_transform(np.eye(size, dtype=np.int8))
