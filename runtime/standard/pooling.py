"""MaxPool and Pad of integers."""

from __future__ import annotations

import math

import numpy as np

from qdeploy.runtime.standard.node import Array, Build, Kernel, Node, as_integers, require_kind, same_type

__all__ = ["POOLINGS"]

#: Bound on what Pad may make (elements): larger is a corrupted model, not a network.
_LARGEST = 1 << 25


def _build_max_pool(node: Node) -> Kernel:
    """Of 8 bits, as in onnxruntime; places outside of the image do not take part. No ``auto_pad``, no indices."""
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or node.attributes.get("ceil_mode", 0) or node.outputs > 1:
        msg = "found auto_pad, ceil_mode or a second output, expected pads"
        raise ValueError(msg)
    kernel_shape = [int(size) for size in node.attributes["kernel_shape"]]
    rank = len(kernel_shape)
    strides, dilations = ([int(n) for n in node.attributes.get(name, [1] * rank)] for name in ("strides", "dilations"))
    pads = [int(n) for n in node.attributes.get("pads", [0] * 2 * rank)]
    if min(kernel_shape + strides + dilations) < 1 or (len(strides), len(dilations), len(pads)) != (
        rank,
        rank,
        2 * rank,
    ):
        msg = f"found strides {strides}, dilations {dilations} and pads {pads} for a window of {kernel_shape}"
        raise ValueError(msg)

    def kernel(x: Array) -> Array:
        if x.dtype.kind not in "iu" or x.dtype.itemsize != 1 or x.ndim != rank + 2:
            msg = f"found {x.dtype} of shape {x.shape}, expected bytes of rank {rank + 2}"
            raise TypeError(msg)
        lowest = np.iinfo(x.dtype).min
        wide = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)], constant_values=lowest)
        sizes = [(wide.shape[2 + a] - dilations[a] * (kernel_shape[a] - 1) - 1) // strides[a] + 1 for a in range(rank)]
        if min(sizes) < 1:
            msg = f"found images of {x.shape[2:]}, smaller than a window of {kernel_shape}"
            raise ValueError(msg)
        result = np.full((*x.shape[:2], *sizes), lowest, x.dtype)
        for place in np.ndindex(*kernel_shape):
            first = [place[a] * dilations[a] for a in range(rank)]
            window = tuple(slice(first[a], first[a] + (sizes[a] - 1) * strides[a] + 1, strides[a]) for a in range(rank))
            np.maximum(result, wide[(slice(None), slice(None), *window)], out=result)
        return result

    return kernel


def _build_pad(node: Node) -> Kernel:
    """Of mode constant, without axes."""
    if node.attributes.get("mode", "constant") != "constant" or node.has(3):
        msg = "found a mode or axes, expected a constant around all axes"
        raise ValueError(msg)

    def kernel(x: Array, pads: Array, value: Array | None = None) -> Array:
        require_kind(x, "iu")
        sizes = as_integers(pads)
        if len(sizes) != 2 * x.ndim or min(sizes) < 0:
            msg = f"found pads {sizes}, expected {2 * x.ndim} numbers of at least 0"
            raise ValueError(msg)
        if value is not None:
            same_type(x, value)
        around = list(zip(sizes[: x.ndim], sizes[x.ndim :], strict=True))
        if math.prod(size + sum(pair) for size, pair in zip(x.shape, around, strict=True)) > _LARGEST:
            msg = f"found pads {sizes} around {x.shape}, expected a result of at most {_LARGEST} elements"
            raise ValueError(msg)
        return np.pad(x, around, constant_values=0 if value is None else int(value.reshape(())))

    return kernel


POOLINGS: dict[str, Build] = {"MaxPool": _build_max_pool, "Pad": _build_pad}
