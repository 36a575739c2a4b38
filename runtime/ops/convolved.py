"""The products of a convolution, which its operators requantize by their own rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray, check_int32, exact_matmul, product_bound, product_type
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.ops.windows import check_windows, padded, windows

WINDOW_NUMBERS = 1 << 24
"""As many numbers of windows are held at a time: 64 MB in single precision."""


def convolved(
    node: Node,
    x: IntArray,
    weight: IntArray,
    bias: IntArray,
    multiplier: IntArray,
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
    x_zero_point: int,
    last: Callable[[NDArray[np.int64]], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """``last`` of every accumulator of a convolution, int64 ``[B, N, *out]``; arguments as of the operator Conv.

    Args:
        last: requantizes accumulators ``[B, *out, N]``, a part of the batch at a time.
    """
    if "weight" not in node.cache:
        node.require_dtype("weight", weight, np.int8)
        node.require(
            3 <= weight.ndim <= 5 and weight.size > 0,
            f"weight has shape {list(weight.shape)}; expected [N, C / group] and one to three axes of a kernel.",
        )
        outputs = weight.shape[0]
        node.require(
            group >= 1 and outputs % group == 0, f"group is {group}; expected a divisor of the {outputs} outputs."
        )
        node.require_dtype("bias", bias, np.int32)
        node.require_shape("bias", bias, outputs)
        node.require_dtype("multiplier", multiplier, np.int32)
        node.require(multiplier.shape in ((1,), (outputs,)), f"multiplier has shape {list(multiplier.shape)}.")
        rows = weight.reshape(outputs, -1)
        bound = product_bound(rows, 255 if x.dtype == np.uint8 else 2**15)
        columns = rows.reshape(group, outputs // group, -1).transpose(0, 2, 1)
        node.cache["bound"] = bound
        node.cache["weight"] = np.ascontiguousarray(columns, product_type(bound))
        node.cache["proven"] = bound + int(np.abs(bias.astype(np.int64)).max()) < 2**31
    node.require_dtype("x", x, np.uint8, np.int16)
    kernel = weight.shape[2:]
    out = check_windows(node, x, kernel, strides, pads, dilations)
    node.require(
        x.shape[1] == weight.shape[1] * group,
        f"x has {x.shape[1]} channels; expected {weight.shape[1]} for each of {group} groups.",
    )
    y = np.empty((x.shape[0], weight.shape[0], *out), np.int64)
    # As many samples at a time as memory allows: a window repeats each number of the image.
    step = max(1, WINDOW_NUMBERS // (x.shape[1] * math.prod(kernel) * math.prod(out)))
    for start in range(0, len(x), step):
        centred = x[start : start + step].astype(product_type(node.cache["bound"])) - x_zero_point
        view = windows(padded(centred, pads, 0), kernel, strides, dilations)
        accumulator = _products(node, view, len(kernel)) + bias
        if not node.cache["proven"]:
            check_int32(accumulator, f"node {node.name}")
        y[start : start + step] = np.moveaxis(last(accumulator), -1, 1)
    return y


def _products(node: Node, view: NDArray[np.generic], rank: int) -> NDArray[np.int64]:
    """Accumulators ``[B, *out, N]`` from windows ``[B, C, *out, *kernel]``."""
    columns = node.cache["weight"]  # [G, C/G * K, N/G]
    samples, channels, *rest = view.shape
    out, kernel = rest[:rank], rest[rank:]
    parts = view.reshape(samples, len(columns), channels // len(columns), *out, *kernel)
    # [G, B, *out, C/G, *kernel]: the numbers that one output reads side by side.
    places = (1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
    rows = parts.transpose(places).reshape(len(columns), -1, columns.shape[1])
    products = [exact_matmul(group, matrix, node.cache["bound"]) for group, matrix in zip(rows, columns, strict=True)]
    joined = products[0] if len(products) == 1 else np.concatenate(products, axis=-1)
    return joined.reshape(samples, *out, -1)
