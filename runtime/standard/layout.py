"""Operators that move, select or describe elements without computing with them, and the makers of constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qdeploy.runtime.standard.node import Array, Build, Kernel, Node, as_integers, require_kind, same_type

__all__ = ["LAYOUT", "constant_value"]

#: Bound on what ConstantOfShape, Expand, Tile and Range may make (elements): larger is a corrupted model, not a
#: network.
_LARGEST = 1 << 25


def constant_value(attributes: dict[str, Any]) -> Array:
    """The array of a Constant node, whichever attribute holds it."""
    if "value" in attributes:
        return np.asarray(attributes["value"])
    if "value_int" in attributes:
        return np.asarray(attributes["value_int"], np.int64)
    if "value_ints" in attributes:
        return np.asarray(attributes["value_ints"], np.int64)
    if "value_float" in attributes:
        return np.asarray(attributes["value_float"], np.float32)
    if "value_floats" in attributes:
        return np.asarray(attributes["value_floats"], np.float32)
    msg = f"found attributes {sorted(attributes)}, expected value, value_int, value_ints, value_float or value_floats"
    raise ValueError(msg)


def _build_constant(node: Node) -> Kernel:
    value = constant_value(dict(node.attributes))
    return lambda: value


def _bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    if min(shape, default=0) < 0 or math.prod(shape) > _LARGEST:
        msg = f"found a result of shape {shape}, expected at most {_LARGEST} elements"
        raise ValueError(msg)
    return shape


def _build_constant_of_shape(node: Node) -> Kernel:
    value = node.attributes.get("value")
    fill = np.asarray(0, np.float32) if value is None else np.asarray(value).reshape(())
    return lambda shape: np.full(_bounded(as_integers(shape) if shape.size else ()), fill)


def _build_range(node: Node) -> Kernel:
    del node

    def kernel(start: Array, limit: Array, delta: Array) -> Array:
        same_type(start, limit)
        same_type(start, delta)
        require_kind(start, "iu")
        step = int(delta)
        if step == 0:
            msg = "found a delta of 0"
            raise ValueError(msg)
        values = range(int(start), int(limit), step)
        _bounded((len(values),))
        return np.arange(int(start), int(limit), step, dtype=start.dtype)

    return kernel


def _build_shape(node: Node) -> Kernel:
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return lambda x: np.asarray(x.shape[start:end], np.int64)


def _build_reshape(node: Node) -> Kernel:
    allow_zero = bool(node.attributes.get("allowzero", 0))

    def kernel(x: Array, shape: Array) -> Array:
        require_kind(shape, "i")
        wanted = [int(d) for d in shape]
        if not allow_zero:
            wanted = [x.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
        return x.reshape(wanted)

    return kernel


def _build_flatten(node: Node) -> Kernel:
    axis = int(node.attributes.get("axis", 1))

    def kernel(x: Array) -> Array:
        at = axis + x.ndim if axis < 0 else axis
        return x.reshape(math.prod(x.shape[:at]), math.prod(x.shape[at:]))

    return kernel


def _build_transpose(node: Node) -> Kernel:
    perm = node.attributes.get("perm")
    return lambda x: np.ascontiguousarray(np.transpose(x, perm)) if x.ndim else x


def _build_split(node: Node) -> Kernel:
    axis, count = int(node.attributes.get("axis", 0)), node.attributes.get("num_outputs")

    def kernel(x: Array, split: Array | None = None) -> tuple[Array, ...]:
        if split is None:
            # Equal parts, the last one smaller where they do not divide.
            parts = node.outputs if count is None else int(count)
            size = -(-x.shape[axis] // parts)
            lengths = [size] * (parts - 1) + [x.shape[axis] - size * (parts - 1)]
        else:
            lengths = list(as_integers(split))
        if min(lengths) < 0 or sum(lengths) != x.shape[axis] or len(lengths) != node.outputs:
            msg = f"found parts of {lengths} for {node.outputs} outputs, expected as many that sum to {x.shape[axis]}"
            raise ValueError(msg)
        return tuple(np.ascontiguousarray(part) for part in np.split(x, np.cumsum(lengths)[:-1], axis))

    return kernel


def _build_squeeze(node: Node) -> Kernel:
    attribute = node.attributes.get("axes")

    def kernel(x: Array, axes: Array | None = None) -> Array:
        chosen = as_integers(axes) if axes is not None else attribute
        return np.squeeze(x, None if chosen is None else tuple(chosen))

    return kernel


def _build_unsqueeze(node: Node) -> Kernel:
    attribute = node.attributes.get("axes")

    def kernel(x: Array, axes: Array | None = None) -> Array:
        chosen = as_integers(axes) if axes is not None else attribute
        if chosen is None:
            msg = "found no axes"
            raise ValueError(msg)
        return np.expand_dims(x, tuple(chosen))

    return kernel


def _build_slice(node: Node) -> Kernel:
    del node

    def kernel(x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
        first, last = as_integers(starts), as_integers(ends)
        along = as_integers(axes) if axes is not None else tuple(range(len(first)))
        stride = as_integers(steps) if steps is not None else (1,) * len(first)
        index = [slice(None)] * x.ndim
        for start, end, axis, step in zip(first, last, along, stride, strict=True):
            size = x.shape[axis]
            begin, stop = start, end
            # Python agrees with ONNX, except that a negative step starts at the first element at least, and that its
            # end of "before the first" is None.
            if step < 0:
                begin = max(0, min(begin + size if begin < 0 else begin, size - 1))
                stop = max(stop + size if stop < 0 else stop, -1)
                index[axis] = slice(begin, None if stop < 0 else stop, step)
            else:
                index[axis] = slice(begin, stop, step)
        return x[tuple(index)]

    return kernel


def _build_concat(node: Node) -> Kernel:
    axis = int(node.attributes["axis"])

    def kernel(*parts: Array) -> Array:
        for part in parts[1:]:
            same_type(parts[0], part)
        return np.concatenate(parts, axis)

    return kernel


def _build_expand(node: Node) -> Kernel:
    del node

    def kernel(x: Array, shape: Array) -> Array:
        wanted = as_integers(shape) if shape.size else ()
        return np.broadcast_to(x, _bounded(np.broadcast_shapes(x.shape, wanted)))

    return kernel


def _build_tile(node: Node) -> Kernel:
    del node

    def kernel(x: Array, repeats: Array) -> Array:
        times = as_integers(repeats)
        _bounded(tuple(n * r for n, r in zip(x.shape, times, strict=True)))
        return np.tile(x, times)

    return kernel


def _build_gather(node: Node) -> Kernel:
    """Indices of -n … n-1 along ``axis``; the result keeps the indices' shape in the axis' place."""
    axis = int(node.attributes.get("axis", 0))

    def kernel(x: Array, indices: Array) -> Array:
        _index_type(indices)
        return np.take(x, indices, axis)

    return kernel


def _build_gather_elements(node: Node) -> Kernel:
    """``y[i, j] = x[indices[i, j], j]`` for axis 0, and so on; indices may be smaller than x off the axis."""
    axis = int(node.attributes.get("axis", 0))
    # The other axes' positions, kept from call to call: a loop asks for the same shape at each step.
    grids: dict[tuple[int, ...], list[Array]] = {}

    def kernel(x: Array, indices: Array) -> Array:
        _index_type(indices)
        if x.ndim != indices.ndim:
            msg = f"found data of rank {x.ndim} and indices of rank {indices.ndim}, expected one rank"
            raise ValueError(msg)
        at = axis + x.ndim if axis < 0 else axis
        if indices.shape not in grids:
            grids.clear()
            grids[indices.shape] = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        places = grids[indices.shape].copy()
        places[at] = indices
        return x[tuple(places)]

    return kernel


def _build_scatter_elements(node: Node) -> Kernel:
    """``y = x``, but ``y[indices[i, j], j] = updates[i, j]`` for axis 0, and so on."""
    axis = int(node.attributes.get("axis", 0))
    reduction = node.attributes.get("reduction", "none")
    if reduction != "none":
        msg = f"found reduction={reduction!r}, expected 'none'"
        raise ValueError(msg)

    def kernel(x: Array, indices: Array, updates: Array) -> Array:
        _index_type(indices)
        same_type(x, updates)
        if not x.ndim == indices.ndim == updates.ndim or indices.shape != updates.shape:
            msg = f"found shapes {x.shape}, {indices.shape} and {updates.shape}, expected one rank, and one shape of the last two"
            raise ValueError(msg)
        places = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        places[axis + x.ndim if axis < 0 else axis] = indices
        y = x.copy()
        y[tuple(places)] = updates
        return y

    return kernel


def _index_type(indices: Array) -> None:
    if indices.dtype.kind != "i" or indices.dtype.itemsize < 4:
        msg = f"found indices of type {indices.dtype}, expected int32 or int64"
        raise TypeError(msg)


def _build_identity(node: Node) -> Kernel:
    del node
    return lambda x: x


LAYOUT: dict[str, Build] = {
    "Concat": _build_concat,
    "Constant": _build_constant,
    "ConstantOfShape": _build_constant_of_shape,
    "Expand": _build_expand,
    "Flatten": _build_flatten,
    "Gather": _build_gather,
    "GatherElements": _build_gather_elements,
    "Identity": _build_identity,
    "Range": _build_range,
    "Reshape": _build_reshape,
    "ScatterElements": _build_scatter_elements,
    "Shape": _build_shape,
    "Slice": _build_slice,
    "Split": _build_split,
    "Squeeze": _build_squeeze,
    "Tile": _build_tile,
    "Transpose": _build_transpose,
    "Unsqueeze": _build_unsqueeze,
}
