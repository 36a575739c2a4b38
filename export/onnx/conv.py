"""Body of Conv: a product of rows (``conv_rows.py``), or ConvInteger; the 64-bit requantization takes the bias in."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.conv_requantization import ELEMENTS, is_narrow, requantization_of
from qdeploy.export.onnx.conv_rows import rows_form
from qdeploy.export.onnx.functions import Site, body, function, kind_of
from qdeploy.export.onnx.rounding import attributes_of, rounding_of
from qdeploy.runtime.rounding import HALF_UP

WINDOW = "strides: ints = @strides, pads: ints = @pads, dilations: ints = @dilations, group: int = @group"


@body("Conv")
def conv(site: Site) -> onnx.FunctionProto:
    """A product of rows where there is one, else ConvInteger."""
    return rows_form(site) or images_form(site)


def images_form(site: Site) -> onnx.FunctionProto:
    """The body of one ConvInteger for uint8 activations, and of two for int16 ones; groups and all else are its own.

    Images are processed one by one, so that accumulators and the wide numbers of the requantization stay in the processor's
    cache.
    """
    x_kind = kind_of(site, "x")
    rank, kind = site.constants["weight"].ndim - 2, ELEMENTS[int(site.attributes["dtype"])]
    constants, kernel, zero_point = unsigned_kernel("w", "weight")
    prepared, product, accumulator = convolution("p", "x_one", x_kind, kernel, zero_point)
    narrow, dtype, rounding = is_narrow(site), int(site.attributes["dtype"]), rounding_of(site)
    requantized, requantize = requantization_of(
        narrow=narrow, dtype=dtype, rounding=rounding, multiplier="channel_multiplier", bias="channel_bias"
    )
    unknown = ", ".join("?" * (rank + 1))
    given = {"u8": "uint8", "s16": "int16"}[x_kind]
    lines = [
        *constants,
        *prepared,
        f"behind = Constant<value = int64[{rank}] {{{', '.join(str(1 + axis) for axis in range(rank))}}}>()",
        "channel_multiplier = Unsqueeze(multiplier, behind)",
        "channel_bias = Unsqueeze(bias, behind)",
        *requantized,
        *fragments.vector("batch", [0]),
        f"y = Scan<num_scan_inputs = 1, body = image ({given}[{unknown}] x_image) => ({kind}[{unknown}] y_image) {{",
        "  x_one = Unsqueeze(x_image, batch)",
        *(f"  {line}" for line in [*product, f"acc = Squeeze({accumulator}, batch)", *requantize]),
        "}>(x)",
    ]
    arrangement = f"{x_kind}_{rank}d_images{'_narrow' * narrow}_{kind}" + (
        "" if rounding == HALF_UP else f"_{rounding}"
    )
    return function("Conv", arrangement, lines, besides=attributes_of(site))


def unsigned_kernel(prefix: str, weight: str) -> tuple[list[str], str, str]:
    """The int8 kernel as uint8 with zero point 128, and both names.

    onnxruntime has a fast ConvInteger for uint8 kernels alone, five times faster than that for int8; it is exact on every
    processor, too.
    """
    p = prefix
    lines = [
        f"{p}_32 = Cast<to = {fragments.INT32}>({weight})",
        f"{p}_128 = Constant<value = int32 {{128}}>()",
        f"{p}_up = Add({p}_32, {p}_128)",
        f"{p}_u = Cast<to = {fragments.UINT8}>({p}_up)",
        f"{p}_z = Constant<value = uint8 {{128}}>()",
    ]
    return lines, f"{p}_u", f"{p}_z"


def convolution(prefix: str, x: str, x_kind: str, kernel: str, zero_point: str) -> tuple[list[str], list[str], str]:
    """Constants, the int32 convolution, and its name; of int16 values x = 256 (hi - 128) + lo, two of them.

    Zero points are what ConvInteger pads with: 128 in the high bytes and 0 in the low ones make 0.
    """
    p = prefix
    if x_kind == "u8":
        constants = fragments.attribute("x_zero_point", fragments.UINT8, result=f"{p}_xz")
        return constants, [f"{p}_acc = ConvInteger<{WINDOW}>({x}, {kernel}, {p}_xz, {zero_point})"], f"{p}_acc"
    lines, high, low = fragments.bytes_of(p, x)
    constants = [line for line in lines if "= Constant<" in line]
    lines = [line for line in lines if line not in constants]
    lines += [
        f"{p}_ah = ConvInteger<{WINDOW}>({high}, {kernel}, {p}_z128, {zero_point})",
        f"{p}_al = ConvInteger<{WINDOW}>({low}, {kernel}, {p}_z0, {zero_point})",
        f"{p}_ah256 = Mul({p}_ah, {p}_256)",
        f"{p}_acc = Add({p}_ah256, {p}_al)",
    ]
    return constants, lines, f"{p}_acc"
