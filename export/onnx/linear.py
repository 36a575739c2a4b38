"""Body of Linear: MatMulInteger, Add, and the 64-bit requantization."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx import rounding as rules
from qdeploy.export.onnx.functions import Site, body, function, kind_of, weight_form
from qdeploy.runtime.rounding import HALF_UP


@body("Linear")
def linear(site: Site) -> onnx.FunctionProto:
    """uint8 activations take one product, int16 ones two."""
    x_kind = kind_of(site, "x")
    form = weight_form(site.constants["weight"].T)
    lines, matrix, zero_point = fragments.matrix("w", "weight", form)
    product, accumulator = fragments.product("p", "x", x_kind, matrix, zero_point)
    attributes = [line for name in ("shift", "y_zero_point", "low", "high") for line in fragments.attribute(name, 7)]
    rounding = rules.rounding_of(site)
    constants, names = rules.requantization_constants(
        rounding, "q", multiplier="multiplier", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    requantize, result = rules.requantization("r", "acc", names)
    lines += [
        *product,
        f"acc = Add({accumulator}, bias)",
        *attributes,
        *constants,
        *requantize,
        f"y = Cast<to: int = @dtype>({result})",
    ]
    arrangement = f"{x_kind}_{form}" + ("" if rounding == HALF_UP else f"_{rounding}")
    return function("Linear", arrangement, lines, besides=rules.attributes_of(site))
