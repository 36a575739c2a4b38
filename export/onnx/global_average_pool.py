"""Body of GlobalAveragePool: a product with ones for bytes, a ReduceSum for what is wider."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of
from qdeploy.export.onnx.global_max_pool import image_axes


@body("GlobalAveragePool")
def global_average_pool(site: Site) -> onnx.FunctionProto:
    """``[B, C, places]`` times a column of ones, int8 since onnxruntime is fastest there: 255 * 2 fits 16 bits.

    The sums of int16 values stay below 2^31, which is proven, so that onnxruntime's ReduceSum is exact.
    """
    kind = kind_of(site, "x")
    if kind == "u8":
        lines = [
            *fragments.attribute("x_zero_point", fragments.UINT8),
            *fragments.vector("flat", [0, 0, -1]),
            "rows = Reshape(x, flat)",
            "sizes = Shape<start = 2>(x)",
            "places = ReduceProd<keepdims = 1>(sizes)",
            *fragments.vector("one", [1]),
            "column = Concat<axis = 0>(places, one)",
            *fragments.constant("unit", "int8", 1),
            "ones = Expand(unit, column)",
            "sums = MatMulInteger(rows, ones, x_zero_point)",
            "all = Shape(x)",
            "first = Shape<end = 2>(x)",
            "rank = Shape(all)",
            *fragments.vector("two", [2]),
            "rest = Sub(rank, two)",
            "last = Expand(one, rest)",
            "kept = Concat<axis = 0>(first, last)",
            "total = Reshape(sums, kept)",
        ]
    else:
        lines = [
            *image_axes("x", "axes"),
            f"wide = Cast<to = {fragments.INT32}>(x)",
            "total = ReduceSum<keepdims = 1>(wide, axes)",
        ]
    constants, names = fragments.requantization_constants(
        "q", multiplier="multiplier", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    requantize, result = fragments.requantization("r", "total", names)
    attributes = [line for name in ("shift", "y_zero_point", "low", "high") for line in fragments.attribute(name, 7)]
    lines += [*attributes, *constants, *requantize, f"y = Cast<to: int = @dtype>({result})"]
    return function("GlobalAveragePool", kind, lines)
