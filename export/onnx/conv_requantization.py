"""The requantization inside a convolution's body: in 64 bits, or in 32 where they are proven to suffice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx import rounding as rules
from qdeploy.export.onnx.fragments import INT32, INT64, UINT8, UINT64
from qdeploy.export.onnx.functions import Site, kind_of
from qdeploy.runtime.rounding import HALF_UP

__all__ = ["ELEMENTS", "is_narrow", "requantization_of"]

ELEMENTS = {2: "uint8", 5: "int16", 6: "int32"}

_LARGEST_DIVISOR = 30
"""2^30 is the largest power of two of int32."""


def is_narrow(site: Site) -> bool:
    """Whether acc M and all that is added to it is proven to stay within 32 bits, and y is of 8 bits, thus never below 0."""
    attributes, weight = site.attributes, site.constants["weight"]
    multiplier = site.constants.get("multiplier")
    if multiplier is None or attributes["dtype"] != UINT8 or rules.rounding_of(site) != HALF_UP:
        return False
    if attributes["low"] < 0 or attributes["shift"] > _LARGEST_DIVISOR:
        return False
    wide = kind_of(site, "x") == "s16"
    largest = 2**15 if wide else max(attributes["x_zero_point"], 255 - attributes["x_zero_point"])
    sums = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1).astype(object) * largest
    factors = np.abs(multiplier.astype(np.int64)).astype(object)
    added = np.abs(site.constants["bias"].astype(np.int64)).astype(object) * factors
    rounding = (attributes["y_zero_point"] << attributes["shift"]) + (1 << attributes["shift"] >> 1)
    return bool((sums * factors + added + rounding < 2**31).all())


def requantization_of(
    *, narrow: bool, dtype: int, rounding: str = HALF_UP, multiplier: str = "multiplier", bias: str = "bias"
) -> tuple[list[str], list[str]]:
    """Constants, and lines that make ``y_image`` of ``acc``.

    Args:
        narrow: whether 32 bits suffice (``is_narrow``).
        dtype: ONNX element type of y.
        rounding: the rule.
        multiplier, bias: names of both, of a shape that broadcasts over ``acc``.

    (acc + bias) M + c = acc M + (bias M + c), also where both sides wrap: that is one pass over the accumulators less.
    """
    attributes = [
        line for name in ("shift", "y_zero_point", "low", "high") for line in fragments.attribute(name, INT64)
    ]
    if not narrow:
        constants, names = rules.requantization_constants(
            rounding, "q", multiplier=multiplier, shift="shift", zero_point="y_zero_point", low="low", high="high"
        )
        usual = names.constants if isinstance(names, rules.Named) else names
        constants += [
            f"bias_64 = Cast<to = {UINT64}>({bias})",
            f"bias_m = Mul(bias_64, {usual.multiplier})",
            f"addend = Add(bias_m, {usual.addend})",
        ]
        joined = replace(usual, addend="addend")
        with_bias = replace(names, constants=joined) if isinstance(names, rules.Named) else joined
        requantize, result = rules.requantization("r", "acc", with_bias)
        return [*attributes, *constants], [*requantize, f"y_image = Cast<to = {dtype}>({result})"]
    constants = [
        *fragments.constant("one_64", "uint64", 1),
        f"shift_u64 = Cast<to = {UINT64}>(shift)",
        'divisor_u64 = BitShift<direction = "LEFT">(one_64, shift_u64)',
        'half_u64 = BitShift<direction = "RIGHT">(divisor_u64, one_64)',
        f"divisor = Cast<to = {INT32}>(divisor_u64)",
        f"half = Cast<to = {INT32}>(half_u64)",
        f"zero_32 = Cast<to = {INT32}>(y_zero_point)",
        f"low_32 = Cast<to = {INT32}>(low)",
        f"high_32 = Cast<to = {INT32}>(high)",
        "zero_m = Mul(zero_32, divisor)",
        f"bias_m = Mul({bias}, {multiplier})",
        "rounding = Add(zero_m, half)",
        "addend = Add(bias_m, rounding)",
    ]
    # Div rounds towards zero: other than down only below zero, where the lower bound of 8 bits is met either way.
    return [*attributes, *constants], [
        f"acc_m = Mul(acc, {multiplier})",
        "sum = Add(acc_m, addend)",
        "quotient = Div(sum, divisor)",
        "bounded = Clip(quotient, low_32, high_32)",
        f"y_image = Cast<to = {dtype}>(bounded)",
    ]
