"""ConvInteger and QLinearConv, exact: one product for each place of the kernel, over the whole image shifted to it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from qdeploy.runtime.standard.node import Array, Build, Kernel, Node, require_kind, same_type

__all__ = ["CONVOLUTIONS"]


def _zero_point(value: Array | None, of: Array, name: str) -> int:
    """A scalar, or a tensor of one element; one for each channel is what no runtime takes."""
    if value is None:
        return 0
    same_type(of, value)
    if value.size != 1:
        msg = f"found {value.size} zero points of {name}, expected one"
        raise ValueError(msg)
    return int(value.reshape(()))


def _attribute(node: Node, name: str, default: Sequence[int]) -> list[int]:
    values = [int(value) for value in node.attributes.get(name, default)]
    if len(values) != len(default) or min(values) < (0 if name == "pads" else 1):
        msg = f"found {name} {values} for {len(default)} numbers, each at least {0 if name == 'pads' else 1}"
        raise ValueError(msg)
    return values


def _products(node: Node) -> Kernel:
    """``sum (x - x_zero_point) (w - w_zero_point)`` as float64 that holds integers; outside of the image x is its zero point."""
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        msg = f"found auto_pad {node.attributes['auto_pad']!r}, expected pads"
        raise ValueError(msg)
    group = int(node.attributes.get("group", 1))

    def kernel(x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
        for name, array in (("x", x), ("w", w)):
            if array.dtype.kind not in "iu" or array.dtype.itemsize != 1:
                msg = f"found {name} of type {array.dtype}, expected int8 or uint8"
                raise TypeError(msg)
        rank = x.ndim - 2
        if rank < 1 or w.ndim != x.ndim or x.shape[1] != w.shape[1] * group or w.shape[0] % group:
            msg = f"found x of shape {x.shape}, w of shape {w.shape} and {group} groups, which do not fit"
            raise ValueError(msg)
        strides, dilations = (_attribute(node, name, (1,) * rank) for name in ("strides", "dilations"))
        pads = _attribute(node, "pads", (0,) * (2 * rank))
        # Products of 8-bit numbers: 2^53 is out of reach of any sum that fits memory.
        left = x.astype(np.float64) - _zero_point(x_zero, x, "x")
        right = w.astype(np.float64) - _zero_point(w_zero, w, "w")
        left = np.pad(left, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
        spans = [dilations[axis] * (w.shape[2 + axis] - 1) + 1 for axis in range(rank)]
        out = [(left.shape[2 + axis] - spans[axis]) // strides[axis] + 1 for axis in range(rank)]
        if min(out) < 1:
            msg = f"found images of {x.shape[2:]}, smaller than the kernel of {w.shape[2:]}"
            raise ValueError(msg)
        grouped = left.reshape(x.shape[0], group, w.shape[1], *left.shape[2:])
        matrices = right.reshape(group, w.shape[0] // group, w.shape[1], -1)
        total: Array = np.zeros((x.shape[0], group, w.shape[0] // group, int(np.prod(out))))
        every = slice(None)
        for tap, place in enumerate(itertools.product(*(range(size) for size in w.shape[2:]))):
            starts = [place[axis] * dilations[axis] for axis in range(rank)]
            window = tuple(
                slice(starts[axis], starts[axis] + (out[axis] - 1) * strides[axis] + 1, strides[axis])
                for axis in range(rank)
            )
            part: Array = grouped[(every, every, every, *window)]
            total += matrices[..., tap] @ part.reshape(*part.shape[:3], -1)
        return total.reshape(x.shape[0], w.shape[0], *out)

    return kernel


def _build_conv_integer(node: Node) -> Kernel:
    """The products in int32."""
    products = _products(node)

    def kernel(x: Array, w: Array, x_zero: Array | None = None, w_zero: Array | None = None) -> Array:
        wrapped: Array = products(x, w, x_zero, w_zero).astype(np.int64).astype(np.int32)
        return wrapped

    return kernel


def _build_qlinear_conv(node: Node) -> Kernel:
    """``saturate(rint(float32(acc) * (x_scale * w_scale / y_scale)) + y_zero_point)`` in float32, ties to even.

    acc is the sum of the products and the bias. This is onnxruntime's rule; ONNX leaves the rounding of the product open.
    """
    products = _products(node)

    def kernel(
        x: Array,
        x_scale: Array,
        x_zero: Array,
        w: Array,
        w_scale: Array,
        w_zero: Array,
        y_scale: Array,
        y_zero: Array,
        bias: Array | None = None,
    ) -> Array:
        for scale in (x_scale, w_scale, y_scale):
            require_kind(scale, "f")
        if y_zero.dtype.kind not in "iu" or y_zero.dtype.itemsize != 1:
            msg = f"found a zero point of y of type {y_zero.dtype}, expected int8 or uint8"
            raise TypeError(msg)
        behind = (-1, *(1,) * (x.ndim - 2))
        accumulator = products(x, w, x_zero, w_zero).astype(np.int64)
        if bias is not None:
            accumulator += bias.reshape(behind)
        factor = (x_scale.reshape(()) * w_scale / y_scale.reshape(())).reshape(behind)
        limits, zero = np.iinfo(y_zero.dtype), _zero_point(y_zero, y_zero, "y")
        rounded = np.rint(accumulator.astype(np.float32) * factor)
        # Clipped while still float: what is far outside has no integer.
        clipped = np.clip(rounded, limits.min - zero, limits.max - zero).astype(np.int64)
        y: Array = (clipped + zero).astype(y_zero.dtype)
        return y

    return kernel


CONVOLUTIONS: dict[str, Build] = {"ConvInteger": _build_conv_integer, "QLinearConv": _build_qlinear_conv}
