"""MatMulInteger and the integer MatMul, exact; results that leave their type wrap.

Where the weights are known at load and a bound proves that no partial sum can leave a float's exact integers (2^24 for
float32, 2^53 for float64), the product runs in BLAS: every intermediate is then an integer that the float holds
exactly, in whatever order it adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qdeploy.runtime.standard.node import Array, Build, Kernel, Node, same_type

__all__ = ["MATMULS"]

_EXACT_FLOAT32 = 1 << 24
_EXACT_FLOAT64 = 1 << 53


def _largest(dtype: np.dtype[Any]) -> int:
    limits = np.iinfo(dtype)
    return max(int(limits.max), -int(limits.min))


def _column_sums(b: Array) -> int:
    """Bound of sum |b| along K, over all columns."""
    if b.size == 0:
        return 0
    magnitude = np.abs(b.astype(np.float64))
    # Rounded up by a part in 2^40: the float64 sum itself may round when the entries are wide.
    return int(magnitude.sum(axis=-2 if b.ndim > 1 else 0).max() * (1 + 2.0**-40))


def _exact_float(bound: int) -> type[np.floating[Any]] | None:
    if bound < _EXACT_FLOAT32:
        return np.float32
    return np.float64 if bound < _EXACT_FLOAT64 else None


def _byte(x: Array, name: str) -> None:
    if x.dtype.kind not in "iu" or x.dtype.itemsize != 1:
        msg = f"found {name} of type {x.dtype}, expected int8 or uint8"
        raise TypeError(msg)


def _row_offset(zero_point: Array, name: str) -> Array:
    """A's zero point: a scalar, or one per row ([M] or [..., M, 1])."""
    if zero_point.size == 1:
        return zero_point.reshape(())
    if zero_point.ndim == 1 and name == "A":
        return zero_point[:, None]
    return zero_point


def _build_matmul_integer(node: Node) -> Kernel:
    """``(A - a_zero_point) @ (B - b_zero_point)`` in int32; zero points are scalars, or per row of A or column of B."""
    weights = node.constant(1)
    offset = node.constant(3)
    prepared: Array | None = None
    # |a| <= 255 and |a_zero_point| <= 255 with one sign for uint8; for int8 both signs: |a - z| <= 255 as well.
    if weights is not None and (offset is not None or not node.has(3)):
        _byte(weights, "B")
        wide = weights.astype(np.int64)
        if offset is not None:
            same_type(weights, offset)
            wide = wide - _row_offset(offset, "B").astype(np.int64)
        kind = _exact_float(255 * _column_sums(wide))
        prepared = np.ascontiguousarray(wide, kind) if kind is not None else None

    def kernel(a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
        _byte(a, "A")
        left: Array = a
        if a_zero is not None:
            same_type(a, a_zero)
            left = a.astype(np.int16) - _row_offset(a_zero, "A")
        if prepared is not None:
            y = left.astype(prepared.dtype) @ prepared
        else:
            _byte(b, "B")
            right: Array = b
            if b_zero is not None:
                same_type(b, b_zero)
                right = b.astype(np.int16) - _row_offset(b_zero, "B")
            # |a - z| <= 255 on both sides: 2^53 is out of reach of any K that fits memory.
            y = left.astype(np.float64) @ right.astype(np.float64)
        if y.dtype == np.float32:
            return np.asarray(y.astype(np.int32))
        return np.asarray(np.asarray(y, np.float64).astype(np.int64).astype(np.int32))

    return kernel


def _build_matmul(node: Node) -> Kernel:
    weights = node.constant(1)
    prepared: Array | None = None
    if weights is not None and weights.dtype.kind in "iu":
        bound = _largest(weights.dtype) * _column_sums(weights)
        if _exact_float(bound) is not None and weights.size > 64:
            prepared = np.ascontiguousarray(weights, np.float64)

    def kernel(a: Array, b: Array) -> Array:
        same_type(a, b)
        if a.dtype.kind not in "iu" or a.dtype.itemsize < 4:
            msg = f"found operands of type {a.dtype}, expected int32, uint32, int64 or uint64"
            raise TypeError(msg)
        if prepared is not None:
            return np.asarray((a.astype(np.float64) @ prepared).astype(np.int64).astype(a.dtype))
        return np.asarray(a @ b)

    return kernel


MATMULS: dict[str, Build] = {"MatMul": _build_matmul, "MatMulInteger": _build_matmul_integer}
