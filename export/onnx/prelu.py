"""Body of PRelu: both signs apart, their products in 64 bits, one rounding."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("PRelu")
def prelu(site: Site) -> onnx.FunctionProto:
    """One arrangement for all element types and ranks: the slopes are brought to the second axis by the rank that x has."""
    del site
    names = ("x_zero_point", "multiplier", "shift", "y_zero_point", "low", "high")
    constants, quantization = fragments.requantization_constants(
        "q", multiplier="once", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    steps, result = fragments.requantization("r", "total", quantization)
    lines = [
        *(line for name in names for line in fragments.attribute(name, fragments.INT64)),
        *fragments.constant("once", "int32", 1),
        *fragments.constant("zero", "int64", 0),
        *constants,
        "sizes = Shape(x)",
        "rank = Shape(sizes)",
        *fragments.vector("two", [2]),
        "behind = Sub(rank, two)",
        *fragments.vector("one", [1]),
        "ones = Expand(one, behind)",
        *fragments.vector("all", [-1]),
        "shape = Concat<axis = 0>(all, ones)",
        f"slopes64 = Cast<to = {fragments.INT64}>(slopes)",
        "factors = Reshape(slopes64, shape)",
        f"wide = Cast<to = {fragments.INT64}>(x)",
        "centred = Sub(wide, x_zero_point)",
        "positive = Max(centred, zero)",
        "negative = Sub(centred, positive)",
        "above = Mul(positive, multiplier)",
        "below = Mul(negative, factors)",
        "total = Add(above, below)",
        *steps,
        f"y = Cast<to: int = @dtype>({result})",
    ]
    return function("PRelu", "any", lines)
