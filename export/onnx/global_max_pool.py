"""Body of GlobalMaxPool: ReduceMax over the axes of the image."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of


@body("GlobalMaxPool")
def global_max_pool(site: Site) -> onnx.FunctionProto:
    """ReduceMax has no 16-bit form in onnxruntime; its axes are counted off the input's shape."""
    lines = image_axes("x", "axes")
    if kind_of(site, "x") == "u8":
        return function("GlobalMaxPool", "u8", [*lines, "y = ReduceMax<keepdims = 1>(x, axes)"])
    lines += [
        f"wide = Cast<to = {fragments.INT32}>(x)",
        "largest = ReduceMax<keepdims = 1>(wide, axes)",
        f"y = Cast<to = {fragments.INT16}>(largest)",
    ]
    return function("GlobalMaxPool", "s16", lines)


def image_axes(x: str, result: str) -> list[str]:
    """The axes from the third on, int64, as ``result``; a constant to every runtime that knows the rank."""
    return [
        f"{result}_sizes = Shape({x})",
        f"{result}_rank = Shape({result}_sizes)",
        f"{result}_count = Squeeze({result}_rank)",
        *fragments.constant(f"{result}_first", "int64", 2),
        *fragments.constant(f"{result}_one", "int64", 1),
        f"{result} = Range({result}_first, {result}_count, {result}_one)",
    ]
