"""Body of MaxPool: the standard operator on bytes, slices and Max on 32 bits for what is wider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of

WINDOW = "kernel_shape: ints = @kernel, strides: ints = @strides, pads: ints = @pads, dilations: ints = @dilations"


@body("MaxPool")
def max_pool(site: Site) -> onnx.FunctionProto:
    """One arrangement for every number of axes of bytes; for int16 one for every shape of the window."""
    rank = len(site.attributes["kernel"])
    if kind_of(site, "x") != "u8":
        return _wide(site, rank)
    if rank != 2:
        return function("MaxPool", f"u8_{rank}d", [f"y = MaxPool<{WINDOW}>(x)"])
    return function("MaxPool", "u8_2d", [*channels_last("x", "again"), f"y = MaxPool<{WINDOW}>(again)"])


def channels_last(x: str, result: str) -> list[str]:
    """``x`` ``[B, C, H, W]`` as it is, but so that onnxruntime computes with the channels behind.

    It has a fast MaxPool of bytes for channels behind alone, twenty times faster than the other, and takes it where a
    Transpose stands in front. The Reshape, which changes nothing, keeps both Transposes from cancelling each other; the
    first one cancels with that of a body before it that ends with the channels behind.
    """
    return [
        f"{result}_behind = Transpose<perm = [0, 2, 3, 1]>({x})",
        *fragments.vector(f"{result}_same", [0, 0, 0, -1]),
        f"{result}_kept = Reshape({result}_behind, {result}_same)",
        f"{result} = Transpose<perm = [0, 3, 1, 2]>({result}_kept)",
    ]


def _wide(site: Site, rank: int) -> onnx.FunctionProto:
    """One axis after the other, the largest of strided slices: onnxruntime has no MaxPool of 16 bits."""
    kernel, strides, pads, dilations = (
        list(site.attributes[name]) for name in ("kernel", "strides", "pads", "dilations")
    )
    lines = [f"wide = Cast<to = {fragments.INT32}>(x)"]
    value = "wide"
    if any(pads):
        lines += [
            *fragments.vector("around", [0, 0, *pads[:rank], 0, 0, *pads[rank:]]),
            *fragments.constant("lowest", "int32", -(2**15)),
            "padded = Pad(wide, around, lowest)",
        ]
        value = "padded"
    for axis in range(rank):
        more, value = _largest_along(value, axis, kernel[axis], strides[axis], dilations[axis])
        lines += more
    lines.append(f"y = Cast<to = {fragments.INT16}>({value})")
    return function("MaxPool", f"s16_{window_name(kernel, strides, pads, dilations)}", lines)


def _largest_along(x: str, axis: int, size: int, stride: int, dilation: int) -> tuple[list[str], str]:
    """Slices of ``x`` along one axis of the image, their ends counted from the end of the axis, and their Max."""
    p = f"a{axis}"
    span = dilation * (size - 1)
    lines = [*fragments.vector(f"{p}_axis", [2 + axis]), *fragments.vector(f"{p}_step", [stride])]
    # ``length - span`` is one more than the first place of the last window, and ``span`` may be 0.
    lines += [
        f"{p}_length = Shape<start = {2 + axis}, end = {3 + axis}>({x})",
        *fragments.vector(f"{p}_span", [span]),
        f"{p}_last = Sub({p}_length, {p}_span)",
    ]
    names = []
    for tap in range(size):
        lines += [
            *fragments.vector(f"{p}_start{tap}", [tap * dilation]),
            f"{p}_end{tap} = Add({p}_last, {p}_start{tap})",
            f"{p}_tap{tap} = Slice({x}, {p}_start{tap}, {p}_end{tap}, {p}_axis, {p}_step)",
        ]
        names.append(f"{p}_tap{tap}")
    return [*lines, f"{p}_max = Max({', '.join(names)})"], f"{p}_max"


def window_name(*lists: Sequence[Any]) -> str:
    """Numbers of windows as part of a body's name: ``3x3_2x2_1x1x1x1_1x1``."""
    return "_".join("x".join(str(number) for number in numbers) for numbers in lists)
