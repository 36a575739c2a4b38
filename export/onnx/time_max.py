"""Body of TimeMax: ReduceMax."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of


@body("TimeMax")
def time_max(site: Site) -> onnx.FunctionProto:
    """ReduceMax has no 16-bit form in onnxruntime."""
    lines = [
        *fragments.attribute("axis", fragments.INT64),
        *fragments.vector("flat", [-1]),
        "axes = Reshape(axis, flat)",
    ]
    if kind_of(site, "x") == "u8":
        return function("TimeMax", "u8", [*lines, "y = ReduceMax<keepdims = 0>(x, axes)"])
    lines += [
        f"wide = Cast<to = {fragments.INT32}>(x)",
        "largest = ReduceMax<keepdims = 0>(wide, axes)",
        f"y = Cast<to = {fragments.INT16}>(largest)",
    ]
    return function("TimeMax", "s16", lines)
