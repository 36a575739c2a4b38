"""Layout operators of a step: what they do with an array, and so with the numbers of a tensor's features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..access import attribute_int, attribute_ints
from .algebra import Algebra, StepError
from .rows import BATCH, Rows, Value, concatenate, constant_rows, rearrange, reshape

__all__ = ["LAYOUT", "apply_layout"]

Arrays = list[NDArray[Any]]


def apply_layout(algebra: Algebra, node: ir.Node, values: list[Value | None], samples: int | None) -> list[Value]:
    """The results of a layout operator.

    Args:
        algebra: of the step.
        node: whose operator is in ``LAYOUT``.
        values: its inputs.
        samples: the number of samples where the file fixes it.

    Raises:
        StepError: parameters that are not constant, or an operator that mixes samples.
    """
    first = values[0]
    if node.op_type == "Concat":
        return [_concatenated(algebra, node, values)]
    parameters: Arrays = []
    for value in values[1:]:
        if isinstance(value, Rows):
            raise StepError(f"{node.op_type} reads parameters that the step computes")
        parameters.append(np.zeros(0, np.int64) if value is None else value)
    if first is None:
        raise StepError(f"{node.op_type} has no input")
    if node.op_type in {"Reshape", "Flatten", "Expand"}:
        return [_shaped(algebra, node, first, parameters, samples)]
    rearranged = _REARRANGING[node.op_type]
    if not isinstance(first, Rows):
        return list(rearranged(node, first, parameters))
    place = first.batch
    indices = first.indices()
    if place is None:
        return [rearrange(algebra, first, one, None) for one in rearranged(node, indices, parameters)]
    # A second sample shows where the batch axis goes.
    width = first.value.width
    results: list[Value] = []
    for one in rearranged(node, np.concatenate([indices, indices + width], axis=place), parameters):
        moved = _batch_axis(one, width)
        if moved is None:
            raise StepError(f"{node.op_type} takes single samples out of the batch")
        results.append(rearrange(algebra, first, np.take(one, [0], axis=moved), moved))
    return results


def _batch_axis(indices: NDArray[Any], width: int) -> int | None:
    for axis, size in enumerate(indices.shape):
        if size == 2:
            sample, other = np.take(indices, 0, axis=axis), np.take(indices, 1, axis=axis)
            if np.array_equal(other, sample + width) and (sample < width).all():
                return axis
    return None


def _concatenated(algebra: Algebra, node: ir.Node, values: list[Value | None]) -> Value:
    present = [value for value in values if value is not None]
    axis = attribute_int(node, "axis", 0)
    arrays = [value for value in present if not isinstance(value, Rows)]
    if len(arrays) == len(present):
        result: NDArray[Any] = np.concatenate(arrays, axis=axis)
        return result
    parts = [value if isinstance(value, Rows) else constant_rows(algebra, value) for value in present]
    return concatenate(algebra, parts, axis)


def _shaped(algebra: Algebra, node: ir.Node, value: Value, parameters: Arrays, samples: int | None) -> Value:
    if node.op_type == "Flatten":
        axis = attribute_int(node, "axis", 1)
        if isinstance(value, Rows) and value.batch == 0 and axis == 1:
            return Rows((None, value.value.width), value.value)
        raise StepError("Flatten mixes samples and features")
    target = list(parameters[0].reshape(-1).tolist())
    if node.op_type == "Reshape":
        if isinstance(value, Rows):
            return reshape(value, target, samples)
        if BATCH in target:
            raise StepError("constants are given a shape that depends on the number of samples")
        return value.reshape([value.shape[at] if size == 0 else int(size) for at, size in enumerate(target)])
    return _expanded(algebra, value, target, samples)


def _expanded(algebra: Algebra, value: Value, target: list[Any], samples: int | None) -> Value:
    """Expand; constants that are repeated for every sample stay what one sample has."""
    batch = target.index(BATCH) if BATCH in target else None
    sizes = [1 if size == BATCH else int(size) for size in target]
    if isinstance(value, Rows):
        if value.batch is not None:
            place = value.batch + max(0, len(sizes) - len(value.axes))
            at = place - (len(value.axes) - len(sizes) if len(value.axes) > len(sizes) else 0)
            if 0 <= at < len(sizes) and sizes[at] == samples:
                sizes[at] = 1
            shape = np.broadcast_shapes(value.shape, tuple(sizes))
            return rearrange(algebra, value, np.broadcast_to(value.indices(), shape), place)
        shape = np.broadcast_shapes(value.shape, tuple(sizes))
        return rearrange(algebra, value, np.broadcast_to(value.indices(), shape), None)
    shape = np.broadcast_shapes(value.shape, tuple(sizes))
    algebra.check_size(1, int(np.prod(shape, dtype=np.float64)))
    if batch is not None and shape[batch - len(sizes) + len(shape)] != 1:
        raise StepError("constants of several samples are repeated for every sample")
    result: NDArray[Any] = np.broadcast_to(value, shape)
    return result


def _transpose(node: ir.Node, array: NDArray[Any], parameters: Arrays) -> Arrays:
    del parameters
    return [np.transpose(array, attribute_ints(node, "perm"))]


def _axes(node: ir.Node, parameters: Arrays) -> tuple[int, ...] | None:
    given = attribute_ints(node, "axes")
    if given is None and parameters and parameters[0].size:
        given = [int(axis) for axis in parameters[0].reshape(-1).tolist()]
    return None if given is None else tuple(given)


def _squeeze(node: ir.Node, array: NDArray[Any], parameters: Arrays) -> Arrays:
    return [np.squeeze(array, _axes(node, parameters))]


def _unsqueeze(node: ir.Node, array: NDArray[Any], parameters: Arrays) -> Arrays:
    return [np.expand_dims(array, _axes(node, parameters) or ())]


def _gather(node: ir.Node, array: NDArray[Any], parameters: Arrays) -> Arrays:
    return [np.take(array, parameters[0].astype(np.int64), axis=attribute_int(node, "axis", 0))]


def _slice(node: ir.Node, array: NDArray[Any], parameters: Arrays) -> Arrays:
    del node
    starts, ends = (one.reshape(-1).tolist() for one in parameters[:2])
    axes = parameters[2].reshape(-1).tolist() if len(parameters) > 2 and parameters[2].size else range(len(starts))
    steps = parameters[3].reshape(-1).tolist() if len(parameters) > 3 and parameters[3].size else [1] * len(starts)
    places: list[slice] = [slice(None)] * array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = array.shape[axis]
        backwards = step < 0 and end < -size
        places[axis] = slice(start, None if backwards else end, step)
    return [array[tuple(places)]]


def _split(node: ir.Node, array: NDArray[Any], parameters: Arrays) -> Arrays:
    axis = attribute_int(node, "axis", 0)
    size, count = array.shape[axis], len(node.outputs)
    given = attribute_ints(node, "split")
    if given is None and parameters and parameters[0].size:
        given = [int(one) for one in parameters[0].reshape(-1).tolist()]
    if given is None:
        # The last part is smaller where the size is no multiple.
        each = -(-size // count)
        given = [min(each, size - at * each) for at in range(count)]
    if sum(given) != size or min(given) < 0:
        raise StepError(f"Split makes parts of {given} out of {size}")
    return list(np.split(array, np.cumsum(given)[:-1], axis=axis))


_REARRANGING: dict[str, Callable[[ir.Node, NDArray[Any], Arrays], Arrays]] = {
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
}

LAYOUT = frozenset({*_REARRANGING, "Concat", "Reshape", "Flatten", "Expand"})
