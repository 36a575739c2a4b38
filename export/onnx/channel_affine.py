"""Body of ChannelAffine: Mul and Add, and one rounding, in 32 bits where they fit."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function

ATTRIBUTES = ("x_zero_point", "shift", "y_zero_point", "low", "high")


@body("ChannelAffine")
def channel_affine(site: Site) -> onnx.FunctionProto:
    """One arrangement for each number of axes behind the channels; constants are shaped at load."""
    trailing = int(site.attributes["trailing"])
    lines = [line for name in ATTRIBUTES for line in fragments.attribute(name, fragments.INT64)]
    if fragments.fits_narrow(_reach(site), site.attributes):
        return function("ChannelAffine", f"trailing{trailing}_narrow", [*lines, *_narrow(trailing)])
    constants, names = fragments.requantization_constants(
        "q", multiplier="one", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    steps, result = fragments.requantization("r", "total", names)
    lines += [
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


def _reach(site: Site) -> int:
    """A bound of |x multiplier + constant|, where the constant holds the zero point of x, too."""
    multiplier, addend = (np.abs(site.constants[name].astype(np.int64)) for name in ("multiplier", "addend"))
    # Whatever the activation's type: bytes reach to 255, and so does their zero point.
    largest = 255 + 255 if site.dtypes.get("x") == onnx.TensorProto.UINT8 else 2**15
    return int((multiplier * largest + addend).max(initial=0))


def _narrow(trailing: int) -> list[str]:
    steps, result = fragments.narrow_requantization("r", "lifted", "q")
    return [
        *fragments.narrow_constants("q"),
        # (x - z) M + A + a = x M + (A + a - z M): what is in brackets is made at load.
        f"zero_point32 = Cast<to = {fragments.INT32}>(x_zero_point)",
        "zero_points = Mul(multiplier, zero_point32)",
        "from_zero = Sub(addend, zero_points)",
        "lift = Add(from_zero, q_a32)",
        *fragments.trailing_axes("factor", "multiplier", 1, trailing),
        *fragments.trailing_axes("constant", "lift", 1, trailing),
        f"wide = Cast<to = {fragments.INT32}>(x)",
        "product = Mul(wide, factor)",
        "lifted = Add(product, constant)",
        *steps,
        f"y = Cast<to: int = @dtype>({result})",
    ]
