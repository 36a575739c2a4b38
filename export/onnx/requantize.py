"""Body of Requantize."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("Requantize")
def requantize(site: Site) -> onnx.FunctionProto:
    """The 64-bit form on x - x_zero_point."""
    del site
    constants, names = fragments.requantization_constants(
        "q", multiplier="multiplier", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    steps, result = fragments.requantization("r", "centred", names)
    attributes = ("x_zero_point", "shift", "y_zero_point", "low", "high")
    lines = [
        *(line for name in attributes for line in fragments.attribute(name, 7)),
        f"wide = Cast<to = {fragments.INT64}>(x)",
        "centred = Sub(wide, x_zero_point)",
        *constants,
        *steps,
        f"y = Cast<to: int = @dtype>({result})",
    ]
    return function("Requantize", "any", lines)
