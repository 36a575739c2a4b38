"""Body of Linear: MatMulInteger, Add, and the 64-bit requantization."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of, weight_form


@body("Linear")
def linear(site: Site) -> onnx.FunctionProto:
    """uint8 activations take one product, int16 ones two."""
    x_kind = kind_of(site, "x")
    form = weight_form(site.constants["weight"].T)
    lines, matrix, zero_point = fragments.matrix("w", "weight", form)
    product, accumulator = fragments.product("p", "x", x_kind, matrix, zero_point)
    attributes = [line for name in ("shift", "y_zero_point", "low", "high") for line in fragments.attribute(name, 7)]
    constants, names = fragments.requantization_constants(
        "q", multiplier="multiplier", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    requantize, result = fragments.requantization("r", "acc", names)
    lines += [
        *product,
        f"acc = Add({accumulator}, bias)",
        *attributes,
        *constants,
        *requantize,
        f"y = Cast<to: int = @dtype>({result})",
    ]
    return function("Linear", f"{x_kind}_{form}", lines)
