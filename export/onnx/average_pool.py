"""Body of AveragePool: ConvInteger with a kernel of ones, each channel an image of its own."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.functions import Site, body, function, kind_of
from qdeploy.export.onnx.max_pool import window_name


@body("AveragePool")
def average_pool(site: Site) -> onnx.FunctionProto:
    """uint8 activations take one convolution, int16 ones two, on their bytes.

    The kernel is uint8, for which onnxruntime has its fast convolution; ones saturate nowhere. With several multipliers
    the number of counted places of every window is a convolution of ones, which depends on the sizes of the image alone.
    """
    kind = kind_of(site, "x")
    kernel, pads, counted = (list(site.attributes[name]) for name in ("kernel", "pads", "counted"))
    many = site.constants["multipliers"].size > 1
    lines = [
        "sizes = Shape<start = 2>(x)",
        "first = Shape<end = 2>(x)",
        *fragments.vector("single", [-1, 1]),
        "apart = Concat<axis = 0>(single, sizes)",
        "images = Reshape(x, apart)",
        *fragments.vector("kernel_shape", [1, 1, *kernel]),
        *fragments.constant("unit", "uint8", 1),
        "ones = Expand(unit, kernel_shape)",
    ]
    window = "strides: ints = @strides, pads: ints = @pads"
    if kind == "u8":
        lines += [
            *fragments.attribute("x_zero_point", fragments.UINT8),
            f"sums = ConvInteger<{window}>(images, ones, x_zero_point)",
        ]
    else:
        split, high, low = fragments.bytes_of("b", "images")
        lines += [
            *split,
            f"high_acc = ConvInteger<{window}>({high}, ones, b_z128)",
            f"low_acc = ConvInteger<{window}>({low}, ones, b_z0)",
            "high_256 = Mul(high_acc, b_256)",
            "sums = Add(high_256, low_acc)",
        ]
    lines += [
        "result_sizes = Shape<start = 2>(sums)",
        "together = Concat<axis = 0>(first, result_sizes)",
        "total = Reshape(sums, together)",
    ]
    lines += _counts(kernel, pads, counted) if many else ["factors = Identity(multipliers)"]
    constants, names = fragments.requantization_constants(
        "q", multiplier="factors", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    requantize, result = fragments.requantization("r", "total", names)
    attributes = [line for name in ("shift", "y_zero_point", "low", "high") for line in fragments.attribute(name, 7)]
    lines += [*attributes, *constants, *requantize, f"y = Cast<to: int = @dtype>({result})"]
    arrangement = window_name(kernel) if not many else f"counts_{window_name(kernel, pads, counted)}"
    return function("AveragePool", f"{kind}_{arrangement}", lines)


def _counts(kernel: list[int], pads: list[int], counted: list[int]) -> list[str]:
    """``factors`` ``[1, 1, *out]``: the multiplier of every window's number of counted places."""
    rank = len(kernel)
    rest = [pad - part for pad, part in zip(pads, counted, strict=True)]
    enlarged = [counted[axis] + counted[rank + axis] for axis in range(rank)]
    return [
        *fragments.vector("counted_pads", enlarged),
        "places_sizes = Add(sizes, counted_pads)",
        *fragments.vector("one_image", [1, 1]),
        "places_shape = Concat<axis = 0>(one_image, places_sizes)",
        "places = Expand(unit, places_shape)",
        f"counts = ConvInteger<strides: ints = @strides, pads = [{', '.join(map(str, rest))}]>(places, ones)",
        *fragments.constant("less", "int32", 1),
        "index = Sub(counts, less)",
        "factors = Gather<axis = 0>(multipliers, index)",
    ]
