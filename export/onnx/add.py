"""Body of Add: two products in 64 bits, one rounding."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("Add")
def add(site: Site) -> onnx.FunctionProto:
    """The sum is requantized by the multiplier 1."""
    del site
    names = ("a_zero_point", "b_zero_point", "a_multiplier", "b_multiplier", "shift", "y_zero_point", "low", "high")
    constants, quantization = fragments.requantization_constants(
        "q", multiplier="one", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    steps, result = fragments.requantization("r", "total", quantization)
    lines = [line for name in names for line in fragments.attribute(name, 7)]
    lines += [*fragments.constant("one", "int32", 1), *constants]
    for operand in ("a", "b"):
        lines += [
            f"{operand}_wide = Cast<to = {fragments.INT64}>({operand})",
            f"{operand}_centred = Sub({operand}_wide, {operand}_zero_point)",
            f"{operand}_term = Mul({operand}_centred, {operand}_multiplier)",
        ]
    lines += ["total = Add(a_term, b_term)", *steps, f"y = Cast<to: int = @dtype>({result})"]
    return function("Add", "any", lines)
