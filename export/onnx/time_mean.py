"""Body of TimeMean: ReduceSum of 64 bits and one Div by twice the number of steps."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of


@body("TimeMean")
def time_mean(site: Site) -> onnx.FunctionProto:
    """The number of steps is read off the input, so that one file serves every length.

    onnxruntime sums integers in double precision: exact, since 2^16 times any number of steps that memory holds stays
    below 2^53. Its Div truncates towards zero, so that signed sums are lifted by 2^15 a step first.
    """
    signed = kind_of(site, "x") != "u8"
    lines = [
        *fragments.attribute("axis", fragments.INT64),
        *fragments.vector("flat", [-1]),
        *fragments.constant("two", "int64", 2),
        "axes = Reshape(axis, flat)",
        "shape = Shape(x)",
        "steps = Gather<axis = 0>(shape, axis)",
        "divisor = Mul(steps, two)",
        f"wide = Cast<to = {fragments.INT64}>(x)",
        "total = ReduceSum<keepdims = 0>(wide, axes)",
        "doubled = Mul(total, two)",
    ]
    if signed:
        lines += [
            *fragments.constant("lift", "int64", 2**15),
            "lifted = Mul(divisor, lift)",
            "addend = Add(lifted, steps)",
            "numerator = Add(doubled, addend)",
            "quotient = Div(numerator, divisor)",
            "mean = Sub(quotient, lift)",
            f"y = Cast<to = {fragments.INT16}>(mean)",
        ]
        return function("TimeMean", "s16", lines)
    lines += [
        "numerator = Add(doubled, steps)",
        "mean = Div(numerator, divisor)",
        f"y = Cast<to = {fragments.UINT8}>(mean)",
    ]
    return function("TimeMean", "u8", lines)
