"""Body of Relu: Clip on 32 bits, since onnxruntime's Clip has no 16-bit form."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of


@body("Relu")
def relu(site: Site) -> onnx.FunctionProto:
    """max(x, zero_point)."""
    kind = kind_of(site, "x")
    lines = [
        *fragments.attribute("zero_point", fragments.INT32),
        f"wide = Cast<to = {fragments.INT32}>(x)",
        "clipped = Max(wide, zero_point)",
        f"y = Cast<to = {fragments.UINT8 if kind == 'u8' else fragments.INT16}>(clipped)",
    ]
    return function("Relu", kind, lines)
