"""Body of ModRelu."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function


@body("ModRelu")
def modrelu(site: Site) -> onnx.FunctionProto:
    """sgn(x) max(|x| + bias, 0) in 32 bits, clipped to int16."""
    del site
    lines = [
        f"wide = Cast<to = {fragments.INT32}>(x)",
        *rectified("wide", "bias", "rectified"),
        *fragments.constant("low", "int32", -(2**15)),
        *fragments.constant("high", "int32", 2**15 - 1),
        "clipped = Clip(rectified, low, high)",
        f"y = Cast<to = {fragments.INT16}>(clipped)",
    ]
    return function("ModRelu", "any", lines)


def rectified(x: str, bias: str, result: str) -> list[str]:
    """sgn(x) max(|x| + bias, 0) on int32."""
    return [
        f"{result}_s = Sign({x})",
        f"{result}_a = Abs({x})",
        f"{result}_b = Add({result}_a, {bias})",
        f"{result}_m = Relu({result}_b)",
        f"{result} = Mul({result}_s, {result}_m)",
    ]
