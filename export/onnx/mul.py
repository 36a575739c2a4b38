"""Body of Mul: the product in 64 bits, one rounding."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("Mul")
def mul(site: Site) -> onnx.FunctionProto:
    """One arrangement for all element types: the operands are widened."""
    del site
    names = ("a_zero_point", "b_zero_point", "multiplier", "shift", "y_zero_point", "low", "high")
    constants, quantization = fragments.requantization_constants(
        "q", multiplier="multiplier", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    steps, result = fragments.requantization("r", "product", quantization)
    lines = [line for name in names for line in fragments.attribute(name, fragments.INT64)]
    lines += constants
    for operand in ("a", "b"):
        lines += [
            f"{operand}_wide = Cast<to = {fragments.INT64}>({operand})",
            f"{operand}_centred = Sub({operand}_wide, {operand}_zero_point)",
        ]
    lines += ["product = Mul(a_centred, b_centred)", *steps, f"y = Cast<to: int = @dtype>({result})"]
    return function("Mul", "any", lines)
