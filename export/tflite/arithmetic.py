"""Integer arithmetic as operators of a subgraph, in int32 throughout.

Every operator here gives the same bits in every runtime, resolver and processor: element-wise operators of int32, CAST,
GATHER, and BATCH_MATMUL of int8 into int32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from qdeploy.export.tflite.schema import ELEMENT_TYPES
from qdeploy.export.tflite.writer import Shape, Subgraph, Value

__all__ = ["Code", "broadcast"]

_RELU = 1
"""ActivationFunctionType.RELU, as an operator's fused activation."""

_INT32 = np.iinfo(np.int32)

_FILLED = (64, 4096)
"""How many entries a tensor has whose bounds are tensors of its shape: MINIMUM and MAXIMUM broadcast at 1.1 ns an entry, else
take 0.1 ns and one operator more, which costs 70 ns. It keeps its memory, so large ones are left alone."""


def broadcast(*shapes: Shape) -> Shape:
    """The shape of an element-wise result, as NumPy has it; a size that is only known at run time stays so."""
    rank = max(map(len, shapes))
    aligned = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(
        None if None in sizes else max(size for size in sizes if size is not None)
        for sizes in zip(*aligned, strict=True)
    )


def _entries(x: Value) -> int | None:
    """Of a tensor; None where only the runtime knows."""
    sizes = [size for size in x.shape if size is not None]
    return math.prod(sizes) if len(sizes) == len(x.shape) else None


class Code:
    """Writes operators into a subgraph.

    Numbers stand for constants; an addition of 0, a product with 1 and a shift by 0 are left out.

    Args:
        subgraph: where they go.
        in_loop: whether it is the body of a loop.
    """

    def __init__(self, subgraph: Subgraph, *, in_loop: bool = False) -> None:
        self.subgraph = subgraph
        self.in_loop = in_loop

    def cast(self, x: Value, dtype: Any) -> Value:
        """``x`` in another type; values that do not fit wrap, as CAST does."""
        kind = np.dtype(dtype)
        if x.dtype == kind:
            return x
        before, after = ELEMENT_TYPES[x.dtype.name], ELEMENT_TYPES[kind.name]
        return self.subgraph.add("CAST", [x], kind, x.shape, in_type=before, out_type=after)

    def add(self, x: Value, y: Value | Any, *, rectified: bool = False) -> Value:
        """x + y, modulo 2^32; ``rectified`` takes 0 for what is negative, in the same operator."""
        if not isinstance(y, Value):
            if not np.any(y) and not rectified:
                return x
            y = self._operand(x, y)
        if not rectified:
            return self._binary("ADD", x, y)
        return self.subgraph.add("ADD", [x, y], np.int32, broadcast(x.shape, y.shape), fused_activation=_RELU)

    def total(self, terms: Iterable[Value]) -> Value:
        """The sum of one term or more, modulo 2^32."""
        return reduce(self.add, terms)

    def subtract(self, x: Value, y: Value | Any) -> Value:
        """x - y."""
        if not isinstance(y, Value):
            return self.add(x, -np.asarray(y, np.int64))
        return self._binary("SUB", x, y)

    def difference(self, x: int, y: Value, *, rectified: bool = False) -> Value:
        """x - y of a number x; ``rectified`` takes 0 for what is negative, in the same operator."""
        inputs = [self.subgraph.scalar(x), y]
        return self.subgraph.add("SUB", inputs, np.int32, y.shape, fused_activation=_RELU if rectified else 0)

    def multiply(self, x: Value, y: Value | Any) -> Value:
        """x * y, modulo 2^32."""
        if not isinstance(y, Value):
            if np.all(np.asarray(y) == 1):
                return x
            y = self._operand(x, y)
        return self._binary("MUL", x, y)

    def shift_right(self, x: Value, bits: int) -> Value:
        """floor(x / 2^bits), bits below 32."""
        return x if bits == 0 else self._binary("RIGHT_SHIFT", x, self._constant(bits))

    def shift_right_each(self, x: Value, bits: Any) -> Value:
        """floor(x / 2^bits), each entry of the last axis by its own number of bits, all below 32."""
        return self._binary("RIGHT_SHIFT", x, self._constant(bits))

    def clip(self, x: Value, low: Any, high: Any) -> Value:
        """Within [low, high], each a number or one for every entry of the last axis; int32's own bounds are left out."""
        if np.any(np.asarray(low) > _INT32.min):
            x = self.maximum(x, low)
        return x if np.all(np.asarray(high) >= _INT32.max) else self.minimum(x, high)

    def maximum(self, x: Value, y: Value | Any) -> Value:
        """The larger of both."""
        return self._bounded("MAXIMUM", x, y)

    def minimum(self, x: Value, y: Value | Any) -> Value:
        """The smaller of both."""
        return self._bounded("MINIMUM", x, y)

    def update(self, x: Value, part: Value, place: Value) -> Value:
        """``x`` with ``part`` written over it from ``place``, int32 ``[rank]``, on."""
        return self.subgraph.add("DYNAMIC_UPDATE_SLICE", [x, part, place], x.dtype, x.shape)

    def gather(self, table: Value | Any, indices: Value, *, axis: int = 0, dtype: Any = np.int32) -> Value:
        """Entries of ``table`` along ``axis``."""
        source = table if isinstance(table, Value) else self.subgraph.constant(table, dtype)
        shape = (*source.shape[:axis], *indices.shape, *source.shape[axis + 1 :])
        return self.subgraph.add("GATHER", [source, indices], source.dtype, shape, axis=axis)

    def matmul(self, x: Value, weight: Value, *, rows: bool = False) -> Value:
        """x ``[..., R, K]`` of int8 times weight ``[K, N]`` of int8, exact int32 ``[..., R, N]``.

        Args:
            x: the left one.
            weight: the right one.
            rows: whether it is given as ``[N, K]``. Of a constant that is as fast, and a runtime need not keep it a second time:
                for a product it turns the others.
        """
        outputs = weight.shape[-2 if rows else -1]
        return self.subgraph.add("BATCH_MATMUL", [x, weight], np.int32, (*x.shape[:-1], outputs), adj_y=int(rows))

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        """Of one type, one after the other along ``axis``, which is not negative."""
        sizes = [value.shape[axis] for value in values]
        total = None if None in sizes else sum(size for size in sizes if size is not None)
        shape = (*values[0].shape[:axis], total, *values[0].shape[axis + 1 :])
        return self.subgraph.add("CONCATENATION", values, values[0].dtype, shape, axis=axis)

    def reshape(self, x: Value, shape: Shape) -> Value:
        """The same entries in another shape; at most one size may be open."""
        x = self.subgraph.reshaped.get(x.index, x)
        if x.shape == shape:
            return x
        sizes = [-1 if size is None else size for size in shape]
        if -1 not in sizes:
            # The first size follows from the others: so sequences and single steps have one constant.
            sizes[:1] = [-1] * len(sizes[:1])
        result = self.subgraph.add("RESHAPE", [x, self._constant(sizes)], x.dtype, shape)
        self.subgraph.reshaped[result.index] = x
        return result

    def slice(self, x: Value, begin: Sequence[int], size: Sequence[int]) -> Value:
        """``size`` entries from ``begin`` on each axis; a size of -1 takes all that are left."""
        shape = tuple(
            (None if whole is None else whole - first) if count == -1 else count
            for whole, first, count in zip(x.shape, begin, size, strict=True)
        )
        return self.subgraph.add("SLICE", [x, self._constant(begin), self._constant(size)], x.dtype, shape)

    def split(self, x: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        """Parts of these sizes along an axis."""
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        parts = [self.subgraph.tensor("", x.dtype, shape) for shape in shapes]
        inputs = [x, self._constant(list(sizes)), self._constant(axis)]
        self.subgraph.add_several("SPLIT_V", inputs, parts, count=len(sizes))
        return parts

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """Axes in another order; what was moved before is moved once."""
        x, before = self.subgraph.transposed.get(x.index, (x, range(len(order))))
        whole = [before[axis] for axis in order]
        if whole == sorted(whole):
            return x
        shape = tuple(x.shape[axis] for axis in whole)
        result = self.subgraph.add("TRANSPOSE", [x, self._constant(whole)], x.dtype, shape)
        self.subgraph.transposed[result.index] = (x, whole)
        return result

    def reverse(self, x: Value, axis: int) -> Value:
        """An axis from its end."""
        return self.subgraph.add("REVERSE_V2", [x, self._constant([axis])], x.dtype, x.shape)

    def reduce(self, kind: str, x: Value, axis: int) -> Value:
        """SUM or REDUCE_MAX along an axis, which the result lacks."""
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        return self.subgraph.add(kind, [x, self._constant([axis])], np.int32, shape, keep_dims=0)

    def size_of(self, x: Value, axis: int) -> Value:
        """The size of an axis at run time, int32 ``[1]``."""
        sizes = self.subgraph.add("SHAPE", [x], np.int32, (len(x.shape),), out_type=ELEMENT_TYPES["int32"])
        return self.slice(sizes, [axis], [1])

    def floor_divide(self, x: Value, y: Value) -> Value:
        """floor(x / y)."""
        return self._binary("FLOOR_DIV", x, y)

    def _binary(self, kind: str, x: Value, y: Value) -> Value:
        return self.subgraph.add(kind, [x, y], np.int32, broadcast(x.shape, y.shape))

    def _bounded(self, kind: str, x: Value, y: Value | Any) -> Value:
        """The larger or smaller of both."""
        if isinstance(y, Value):
            return self._binary(kind, x, y)
        result = self._binary(kind, x, self._limit(x, y))
        if np.size(y) == 1:
            # Whatever shape the bound has, which hangs on whether the number of steps is known.
            self.subgraph.roles[result.index] = (f"{kind} {int(np.reshape(y, ()))}", x)
        return result

    def _limit(self, x: Value, values: Any) -> Value:
        """What x is compared with; a number as a tensor of x's shape, which FILL makes before the first step."""
        entries = _entries(x)
        if np.size(values) > 1 or entries is None or not _FILLED[0] <= entries <= _FILLED[1]:
            return self._operand(x, values)
        size = self._constant(list(x.shape))
        return self.subgraph.add("FILL", [size, self.subgraph.scalar(int(np.asarray(values)))], np.int32, x.shape)

    def _operand(self, x: Value, values: Any) -> Value:
        """A constant beside x; of the same shape where that repeats nothing, since broadcasting is slower."""
        array = np.asarray(values, np.int64)
        same = array.ndim and array.size == _entries(x) and broadcast(array.shape, x.shape) == x.shape
        return self._constant(array.reshape([size or 1 for size in x.shape]) if same else values)

    def _constant(self, values: Any) -> Value:
        wide = np.asarray(values, np.int64)
        return self.subgraph.constant(wide.astype(np.uint32).view(np.int32) if wide.ndim else int(wide), np.int32)
