"""Body of Clip: the standard operator, which onnxruntime has on 8 and on 32 bits."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of


@body("Clip")
def clip(site: Site) -> onnx.FunctionProto:
    """min(max(x, low), high)."""
    if kind_of(site, "x") == "u8":
        bounds = [line for name in ("low", "high") for line in fragments.attribute(name, fragments.UINT8)]
        return function("Clip", "u8", [*bounds, "y = Clip(x, low, high)"])
    lines = [line for name in ("low", "high") for line in fragments.attribute(name, fragments.INT32)]
    lines += [
        f"wide = Cast<to = {fragments.INT32}>(x)",
        "clipped = Clip(wide, low, high)",
        f"y = Cast<to = {fragments.INT16}>(clipped)",
    ]
    return function("Clip", "s16", lines)
