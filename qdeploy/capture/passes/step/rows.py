"""Tensors of one step: a batch axis of unknown size, and axes of features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .algebra import Algebra, Matrix, Polynomial, StepError

__all__ = ["BATCH", "Rows", "Value", "broadcast", "concatenate", "constant_rows", "multiplied", "rearrange", "reshape"]

# The element of a computed shape that is the number of samples.
BATCH = "batch"


@dataclass(frozen=True)
class Rows:
    """A tensor whose features are ``value``, in row-major order of the axes that have a size.

    Attributes:
        axes: sizes; ``None`` is the batch axis, of which a tensor of constants has none.
        value: the features of every sample.
    """

    axes: tuple[int | None, ...]
    value: Polynomial

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes for one sample."""
        return tuple(1 if size is None else size for size in self.axes)

    @property
    def batch(self) -> int | None:
        """The place of the batch axis."""
        return self.axes.index(None) if None in self.axes else None

    def indices(self) -> NDArray[np.intp]:
        """The number of every feature at its place; layout operators act on it."""
        return np.arange(self.value.width, dtype=np.intp).reshape(self.shape)


# A tensor that depends on the sample, or an array of constants; a shape with a batch axis is an array of objects.
Value = Rows | NDArray[Any]


def constant_rows(algebra: Algebra, array: NDArray[Any]) -> Rows:
    """Constants as a tensor without a batch axis."""
    if not np.issubdtype(array.dtype, np.floating):
        raise StepError(f"constants of type {array.dtype} are computed with, expected floating point")
    return Rows(tuple(array.shape), algebra.constant(array))


def rearrange(algebra: Algebra, rows: Rows, indices: NDArray[np.intp], batch: int | None) -> Rows:
    """The tensor whose features are those at ``indices``; ``batch`` is the new place of the batch axis, of size one."""
    axes: list[int | None] = list(indices.shape)
    if batch is not None:
        if axes[batch] != 1:
            raise StepError("features are taken along the batch axis")
        axes[batch] = None
    return Rows(tuple(axes), algebra.select(rows.value, indices.reshape(-1)))


def broadcast(algebra: Algebra, first: Rows, second: Rows) -> tuple[Rows, Rows]:
    """Both tensors in the shape that numpy's broadcasting gives them."""
    rank = max(len(first.axes), len(second.axes))
    places = {rank - len(one.axes) + one.batch for one in (first, second) if one.batch is not None}
    if len(places) > 1:
        raise StepError("the batch axes of two operands stand at different places")
    batch = next(iter(places), None)
    first, second = (_one_sample(algebra, one, rank, batch) for one in (first, second))
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError as error:
        raise StepError(f"operands of the shapes {first.shape} and {second.shape} do not go together") from error
    if batch is not None and shape[batch] != 1:
        raise StepError("one operand has features along the batch axis of the other")
    pair = [rearrange(algebra, one, np.broadcast_to(one.indices(), shape), batch) for one in (first, second)]
    return pair[0], pair[1]


def _one_sample(algebra: Algebra, rows: Rows, rank: int, batch: int | None) -> Rows:
    """Constants that are the same for every sample of a fixed batch, once."""
    place = None if batch is None or rows.batch is not None else batch - (rank - len(rows.axes))
    if place is None or place < 0 or rows.axes[place] == 1:
        return rows
    indices = rows.indices()
    count = indices.shape[place]
    parts = [algebra.select(rows.value, np.take(indices, at, axis=place).reshape(-1)) for at in range(count)]
    if not all(algebra.equal(parts[0], part) for part in parts):
        raise StepError("constants differ from sample to sample")
    return rearrange(algebra, rows, np.take(indices, [0], axis=place), None)


def concatenate(algebra: Algebra, parts: Sequence[Rows], axis: int) -> Rows:
    """Tensors side by side along an axis of features."""
    rank = max(len(part.axes) for part in parts)
    axis = axis % rank
    batches = {part.batch for part in parts if part.batch is not None}
    batch = next(iter(batches), None)
    if len(batches) > 1 or axis == batch:
        raise StepError("tensors are concatenated along the batch axis, or with batch axes at different places")
    parts = [_one_sample(algebra, part, rank, batch) for part in parts]
    width = sum(part.value.width for part in parts)
    offsets = np.cumsum([0, *(part.value.width for part in parts)])
    numbered = [part.indices() + offset for part, offset in zip(parts, offsets, strict=False)]
    order = np.concatenate(numbered, axis=axis)
    total = algebra.constant(np.zeros(width))
    for part, numbers in zip(parts, numbered, strict=True):
        total = algebra.add(total, algebra.place(part.value, numbers.reshape(-1), width))
    return rearrange(algebra, Rows((width,), total), order, batch)


def multiplied(algebra: Algebra, rows: Rows, matrix: Matrix, *, left: bool) -> Rows:
    """``rows @ matrix``, or ``matrix @ rows`` where ``left``: one axis of features becomes another.

    Args:
        matrix: [features, new ones], or [new ones, features] where ``left``.
    """
    if matrix.ndim != 2:
        raise StepError(f"a tensor is multiplied by constants of rank {matrix.ndim}, expected a matrix")
    axis = len(rows.axes) - (2 if left else 1)
    weight = matrix if left else matrix.T
    if axis < 0 or rows.axes[axis] is None or rows.axes[axis] != weight.shape[1]:
        raise StepError(f"a matrix {list(matrix.shape)} is multiplied along an axis that has not this many features")
    before, after = math.prod(rows.shape[:axis]), math.prod(rows.shape[axis + 1 :])
    if before * after > 1:
        algebra.check_size(before * after * weight.shape[0], rows.value.width)
        weight = np.kron(np.eye(before), np.kron(weight, np.eye(after)))
    axes = (*rows.axes[:axis], matrix.shape[0] if left else matrix.shape[1], *rows.axes[axis + 1 :])
    return Rows(axes, algebra.transform(weight, rows.value))


def reshape(rows: Rows, target: Sequence[object], samples: int | None) -> Rows:
    """``rows`` in another shape that keeps the batch axis apart.

    Args:
        target: sizes, of which 0 copies, -1 is what is left, and ``BATCH`` the number of samples.
        samples: the number of samples where it is fixed.
    """
    sizes = [rows.axes[place] if size == 0 and place < len(rows.axes) else size for place, size in enumerate(target)]
    if rows.batch is None:
        raise StepError("constants are given a shape that depends on the number of samples")
    before = math.prod(size for size in rows.axes[: rows.batch] if size is not None)
    for place, size in enumerate(sizes):
        rest = [one for at, one in enumerate(sizes) if at != place]
        if size not in {None, BATCH, -1} and size != samples:
            continue
        if any(one is None or one == BATCH for one in rest):
            continue
        numbers = [int(str(one)) for one in rest]
        if -1 in numbers:
            known = math.prod(one for one in numbers if one != -1)
            if known == 0 or rows.value.width % known or numbers.count(-1) > 1:
                continue
            numbers[numbers.index(-1)] = rows.value.width // known
        if math.prod(numbers) == rows.value.width and math.prod(numbers[:place]) == before:
            return Rows((*numbers[:place], None, *numbers[place:]), rows.value)
    raise StepError(f"the shape {list(rows.axes)} becomes {list(target)}, which mixes samples and features")
