"""Body of ChannelAffine: Mul and Add in 64 bits, one rounding."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("ChannelAffine")
def channel_affine(site: Site) -> onnx.FunctionProto:
    """One arrangement for each number of axes behind the channels; constants are shaped at load."""
    trailing = int(site.attributes["trailing"])
    constants, names = fragments.requantization_constants(
        "q", multiplier="one", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    steps, result = fragments.requantization("r", "total", names)
    attributes = ("x_zero_point", "shift", "y_zero_point", "low", "high")
    lines = [
        *(line for name in attributes for line in fragments.attribute(name, fragments.INT64)),
        *fragments.constant("one", "int32", 1),
        *constants,
        f"multiplier64 = Cast<to = {fragments.INT64}>(multiplier)",
        f"addend64 = Cast<to = {fragments.INT64}>(addend)",
        *fragments.trailing_axes("factor", "multiplier64", 1, trailing),
        *fragments.trailing_axes("constant", "addend64", 1, trailing),
        f"wide = Cast<to = {fragments.INT64}>(x)",
        "centred = Sub(wide, x_zero_point)",
        "product = Mul(centred, factor)",
        "total = Add(product, constant)",
        *steps,
        f"y = Cast<to: int = @dtype>({result})",
    ]
    return function("ChannelAffine", f"trailing{trailing}", lines)
