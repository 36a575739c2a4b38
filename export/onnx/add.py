"""Body of Add: two products, one rounding; in 32 bits for bytes, else in 64."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function

UINT32 = 12

LARGEST_SHIFT = 22
"""Up to here the offset 2^(30 - shift), which keeps quotients positive, is a multiple of 256 that a cast to a byte drops."""


@body("Add")
def add(site: Site) -> onnx.FunctionProto:
    """Sums of two bytes times 15 bits stay below 2^25, so that 32 bits hold them beside the offset."""
    bytes_only = all(site.dtypes.get(operand) == fragments.UINT8 for operand in ("a", "b"))
    if (
        bytes_only
        and site.attributes["dtype"] == fragments.UINT8
        and 0 <= site.attributes["shift"] <= LARGEST_SHIFT
        and all(abs(site.attributes[f"{operand}_multiplier"]) < 2**15 for operand in ("a", "b"))
    ):
        return function("Add", "u8", _narrow())
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


def _narrow() -> list[str]:
    """((a M_a + b M_b + c) >> s) in uint32, where c holds zero points, the rounding and the offset, all modulo 2^32.

    Half the bytes and two thirds of the steps of the 64-bit form, in a place where residual networks spend their time.
    """
    names = ("a_zero_point", "b_zero_point", "a_multiplier", "b_multiplier", "shift", "y_zero_point", "low", "high")
    return [
        *(line for name in names for line in fragments.attribute(name, UINT32)),
        *fragments.constant("one", "uint32", 1),
        *fragments.constant("k0", "uint32", 2**30),
        'k = BitShift<direction = "RIGHT">(k0, shift)',
        'power = BitShift<direction = "LEFT">(one, shift)',
        'half = BitShift<direction = "RIGHT">(power, one)',
        "zero = Mul(y_zero_point, power)",
        "a_zero = Mul(a_zero_point, a_multiplier)",
        "b_zero = Mul(b_zero_point, b_multiplier)",
        "zeros = Add(a_zero, b_zero)",
        "upper = Add(k0, zero)",
        "rounded = Add(upper, half)",
        "addend = Sub(rounded, zeros)",
        "least = Add(k, low)",
        "most = Add(k, high)",
        f"a_wide = Cast<to = {UINT32}>(a)",
        f"b_wide = Cast<to = {UINT32}>(b)",
        "a_term = Mul(a_wide, a_multiplier)",
        "b_term = Mul(b_wide, b_multiplier)",
        "sum = Add(a_term, b_term)",
        "total = Add(sum, addend)",
        'quotient = BitShift<direction = "RIGHT">(total, shift)',
        "clipped = Clip(quotient, least, most)",
        f"y = Cast<to = {fragments.UINT8}>(clipped)",
    ]
