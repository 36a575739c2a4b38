"""Products with constant matrices: BATCH_MATMUL of int8 into int32, which is the raw accumulator in every runtime.

Inputs become int8 digits: an 8-bit x is x - 128, a wide one is 256 hi + lo. No weight is ever -128: two such products
overflow 16 bits on some processors. A quaternion matrix stays four components: x as four rows of K/4 entries times
[r | i | j | k] gives all sixteen products, which a look-up of rows brings together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime.hamilton_product import components_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["Digits", "MatrixProduct", "quaternion_sum"]

_LOWEST = -128
_BYTE = 8

# y_q is the sum over the four components c of sign * (component c times part of x), by the rows of L(w).
_PARTS = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
_SIGNS = np.array([[1, -1, -1, -1], [1, 1, 1, -1], [1, -1, 1, 1], [1, 1, -1, 1]])

# With its first part negative, every part of y is three terms less one: of these components.
_ADDED = ((1, 0, 0, 0), (2, 1, 2, 1), (3, 2, 3, 3))
_TAKEN_OFF = (0, 3, 1, 2)
_TURNED = np.array([[-1], [1], [1], [1]])


@dataclass(frozen=True)
class Digits:
    """How integers of a type become int8 factors: x = sum of weight * digit + constant.

    Attributes:
        wide: whether there are two digits.
        constant: what the digits leave out.
    """

    wide: bool
    constant: int

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> Digits:
        """Of uint8 or int16."""
        return cls(wide=dtype.name == "int16", constant=128)

    @property
    def scales(self) -> tuple[int, ...]:
        """What each digit counts."""
        return (1 << _BYTE, 1) if self.wide else (1,)

    def numbers(self, x: int) -> tuple[int, ...]:
        """The digits of a number."""
        return (x >> _BYTE, x - (x >> _BYTE << _BYTE) - self.constant) if self.wide else (x - self.constant,)

    def split(self, code: Code, x: Value) -> list[Value]:
        """The int8 digits of int32 values; those that they were joined of, where that is known."""
        graph = code.subgraph
        source = graph.reshaped.get(x.index, x)
        known = graph.digits.get(source.index)
        if known is not None:
            return [code.reshape(digit, x.shape) for digit in known]
        if self.wide:
            high = code.shift_right(x, _BYTE)
            low = code.subtract(code.subtract(x, code.multiply(high, 1 << _BYTE)), self.constant)
            found = [code.cast(high, np.int8), code.cast(low, np.int8)]
        else:
            found = [code.cast(code.subtract(x, self.constant), np.int8)]
        graph.joined[tuple(digit.index for digit in found)] = x
        return found

    def joined(self, code: Code, digits: list[Value]) -> Value:
        """The int32 values again, of digits that :meth:`split` gave, here or in another subgraph."""
        graph = code.subgraph
        key = tuple(digit.index for digit in digits)
        if key in graph.joined:
            return graph.joined[key]
        pairs = zip(self.scales, digits, strict=True)
        total = code.total(code.multiply(code.cast(digit, np.int32), scale) for scale, digit in pairs)
        whole = code.add(total, self.constant)
        graph.digits[whole.index] = digits
        return whole


@dataclass(frozen=True)
class MatrixProduct:
    """W x for a constant int8 W ``[N, K]`` and digits of x.

    Attributes:
        weight: ``[N, K]``.
        digits: of x.
        rest: int64 ``[N]``: what W (x - zero_point) has besides the products of digits.
    """

    weight: IntArray
    digits: Digits
    rest: IntArray

    @classmethod
    def of(cls, weight: IntArray, dtype: np.dtype[Any], zero_point: int) -> MatrixProduct:
        """Of a weight, and type and zero point of what it is multiplied by."""
        digits = Digits.of(dtype)
        return cls(weight, digits, weight.astype(np.int64).sum(axis=1) * (digits.constant - zero_point))

    def of_digits(self, code: Code, digits: list[Value]) -> Value:
        """int32 ``[R, N]`` from int8 digits ``[R, K]``, without the rest."""
        pairs = zip(self.digits.scales, digits, strict=True)
        return code.total(code.multiply(self.plain(code, digit, self.weight), scale) for scale, digit in pairs)

    @classmethod
    def plain(cls, code: Code, x: Value, weight: IntArray, *, compact: bool = True) -> Value:
        """int32 ``[R, N]`` from int8 ``[R, K]`` and a weight ``[N, K]``, by its components where it is a quaternion matrix.

        Args:
            code: where operators go.
            x: the rows.
            weight: the matrix.
            compact: False writes a quaternion matrix in full.
        """
        if int(weight.min()) == _LOWEST:
            lowest = -(weight == _LOWEST).astype(np.int8)
            rest = np.maximum(weight, _LOWEST + 1)
            return code.add(*(cls.plain(code, x, part, compact=compact) for part in (rest, lowest)))
        found = components_of(weight) if compact else None
        if found is not None and found[1] == "blocked":
            return _quaternion(code, x, found[0])
        return code.matmul(x, code.subgraph.constant(weight, np.int8), rows=True)

    @classmethod
    def stacked(cls, code: Code, x: Value, weight: IntArray) -> Value:
        """int32 ``[G, R, N]`` from int8 ``[G, R, K]`` and weights ``[G, K, N]``."""
        if int(weight.min()) == _LOWEST:
            lowest = -(weight == _LOWEST).astype(np.int8)
            return code.add(cls.stacked(code, x, np.maximum(weight, _LOWEST + 1)), cls.stacked(code, x, lowest))
        return code.matmul(x, code.subgraph.constant(weight, np.int8))


def _quaternion(code: Code, x: Value, components: IntArray) -> Value:
    """L(w) x from the four components ``[4, N/4, K/4]``."""
    _, outputs, inputs = components.shape
    rows = x.shape[0]
    stacked = components.reshape(4 * outputs, inputs)
    products = code.matmul(code.reshape(x, (rows, 4, inputs)), code.subgraph.constant(stacked, np.int8), rows=True)
    # Row (part of x, component) of the sixteen, one for each part of y.
    by_part = code.reshape(products, (rows, 16, outputs))
    first, second, third, taken_off = (
        code.gather(by_part, code.subgraph.constant([4 * (q ^ c) + c for q, c in enumerate(chosen)]), axis=1)
        for chosen in (*_ADDED, _TAKEN_OFF)
    )
    total = code.subtract(code.add(code.add(first, second), third), taken_off)
    return code.reshape(code.multiply(total, _TURNED), (rows, 4 * outputs))


def quaternion_sum(code: Code, products: Sequence[Value]) -> Value:
    """L(w) x, its four parts along the first axis.

    Args:
        code: where operators go.
        products: int32, for each component of w, times the four parts of x, which the first axis counts.
    """
    rank = len(products[0].shape)

    def term(component: int, product: Value) -> Value:
        taken = code.gather(product, code.subgraph.constant(_PARTS[:, component]))
        return code.multiply(taken, _SIGNS[:, component].reshape(4, *[1] * (rank - 1)))

    # The first component's terms are as they are.
    return code.total([products[0], *(term(c, product) for c, product in enumerate(products) if c)])
