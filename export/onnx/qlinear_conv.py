"""Body of QLinearConv: the standard operator of that name, its multiplier as scales that are powers of two or few bits."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.conv import WINDOW
from qdeploy.export.onnx.fragments import FLOAT, UINT8, UINT64
from qdeploy.export.onnx.functions import Site, body, function
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops.qlinear_conv import pairs_fit_16_bits


@body("QLinearConv")
def qlinear_conv(site: Site) -> onnx.FunctionProto:
    """x_scale w_scale / y_scale is 1 * multiplier / 2^shift, which single precision holds exactly.

    The int8 kernel is not shifted to uint8 as elsewhere, since that product takes four times as long: weights must not
    saturate (``pairs_fit_16_bits``).
    """
    weight = site.constants["weight"]
    if not pairs_fit_16_bits(weight):
        raise UnsupportedModelError(
            f"node {site.node.name}: products of two weights of one output can leave 16 bits, where QLinearConv is wrong on x86 "
            "processors without VNNI; use weights of 7 bits (--recipe w7a8), or --conv-kernels strict."
        )
    bounded = (site.attributes["low"], site.attributes["high"]) != (0, 255)
    unclipped = "unclipped" if bounded else "y"
    inputs = ("x", "x_scale", "x_zero", "weight", "weight_scale", "weight_zero", "y_scale", "y_zero", "bias")
    lines = [
        *fragments.attribute("x_zero_point", UINT8, result="x_zero"),
        *fragments.attribute("y_zero_point", UINT8, result="y_zero"),
        *fragments.attribute("shift", UINT64),
        *fragments.constant("one", "uint64", 1),
        *fragments.constant("weight_zero", "int8", 0),
        'divisor = BitShift<direction = "LEFT">(one, shift)',
        f"x_scale = Cast<to = {FLOAT}>(one)",
        f"weight_scale = Cast<to = {FLOAT}>(multiplier)",
        f"y_scale = Cast<to = {FLOAT}>(divisor)",
        f"{unclipped} = QLinearConv<{WINDOW}>({', '.join(inputs)})",
    ]
    if bounded:
        lines += [
            *fragments.attribute("low", UINT8),
            *fragments.attribute("high", UINT8),
            "y = Clip(unclipped, low, high)",
        ]
    return function("QLinearConv", f"u8{'_bounded' * bounded}", lines)
