"""Windows over images: the shapes of convolutions and pools, and views of what each position reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node


def output_sizes(
    spatial: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """floor((size + both pads - dilation (kernel - 1) - 1) / stride) + 1 along each axis; 0 where no window fits.

    Args:
        spatial: sizes of the image's axes.
        kernel, strides, dilations: one number an axis.
        pads: in ONNX's order, the beginnings of all axes and then their ends.
    """
    rank = len(spatial)
    return tuple(
        max(
            0,
            (spatial[a] + pads[a] + pads[rank + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1,
        )
        for a in range(rank)
    )


def check_windows(
    node: Node,
    x: IntArray,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> tuple[int, ...]:
    """The sizes of the result's axes, checked.

    Raises:
        ContractError: lists of other lengths than the kernel's, strides or dilations below 1, negative pads, or an
            image smaller than one window.
    """
    rank = len(kernel)
    node.require(
        x.ndim == rank + 2 and x.size > 0,
        f"x has shape {list(x.shape)}; expected [B, C] and {rank} axes of an image, not empty.",
    )
    for name, values, length, least in (
        ("strides", strides, rank, 1),
        ("dilations", dilations, rank, 1),
        ("pads", pads, 2 * rank, 0),
    ):
        node.require(
            len(values) == length and min(values, default=least) >= least,
            f"{name} are {list(values)}; expected {length} integers from {least} on.",
        )
    sizes = output_sizes(x.shape[2:], kernel, strides, pads, dilations)
    node.require(
        min(sizes) > 0,
        f"x has images of {list(x.shape[2:])}, smaller than one window of {list(kernel)} with pads {list(pads)} and "
        f"dilations {list(dilations)}.",
    )
    return sizes


def padded(x: IntArray, pads: Sequence[int], fill: int) -> IntArray:
    """``[B, C, *S]`` with ``fill`` around each image; ``x`` itself where nothing is padded."""
    if not any(pads):
        return x
    rank = x.ndim - 2
    return np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)], constant_values=fill)


def windows(x: IntArray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> IntArray:
    """A view ``[B, C, *out, *kernel]`` of ``x`` ``[B, C, *S]``, padded already: what each position of a kernel reads."""
    rank = len(kernel)
    spans = tuple(dilations[a] * (kernel[a] - 1) + 1 for a in range(rank))
    view = sliding_window_view(x, spans, axis=tuple(range(2, 2 + rank)))
    index = [slice(None), slice(None)]
    index += [slice(None, None, stride) for stride in strides]
    index += [slice(None, None, dilation) for dilation in dilations]
    return view[tuple(index)]


def taps(x: IntArray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Iterator[IntArray]:
    """Views ``[B, C, *out]`` of ``x``, padded already: what all positions read at one place of the kernel after the other."""
    view = windows(x, kernel, strides, dilations)
    for place in np.ndindex(*kernel):
        yield view[(..., *place)]
