"""Body of Conv: a product of rows (``conv_rows.py``), or ConvInteger; the 64-bit requantization takes the bias in."""

from __future__ import annotations

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.conv_rows import ELEMENTS, rows_form
from qdeploy.export.onnx.functions import Site, body, function, kind_of

WINDOW = "strides: ints = @strides, pads: ints = @pads, dilations: ints = @dilations, group: int = @group"


@body("Conv")
def conv(site: Site) -> onnx.FunctionProto:
    """A product of rows where there is one; else uint8 activations take one convolution, int16 ones two.

    Images are processed one by one, so that accumulators and the wide numbers of the requantization stay in the processor's
    cache.
    """
    by_rows = rows_form(site)
    if by_rows is not None:
        return by_rows
    x_kind = kind_of(site, "x")
    rank, kind = site.constants["weight"].ndim - 2, ELEMENTS[int(site.attributes["dtype"])]
    constants, kernel, zero_point = unsigned_kernel("w", "weight")
    prepared, product, accumulator = convolution("p", "x_one", x_kind, kernel, zero_point)
    requantized, requantize, result = channel_requantization("r", accumulator, rank)
    unknown = ", ".join("?" * (rank + 1))
    given = {"u8": "uint8", "s16": "int16"}[x_kind]
    lines = [
        *constants,
        *prepared,
        *requantized,
        *fragments.vector("batch", [0]),
        f"y = Scan<num_scan_inputs = 1, body = image ({given}[{unknown}] x_image) => ({kind}[{unknown}] y_image) {{",
        "  x_one = Unsqueeze(x_image, batch)",
        *(f"  {line}" for line in [*product, *requantize]),
        f"  y_one = Cast<to = {int(site.attributes['dtype'])}>({result})",
        "  y_image = Squeeze(y_one, batch)",
        "}>(x)",
    ]
    return function("Conv", f"{x_kind}_{rank}d_images_{kind}", lines)


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


def channel_requantization(prefix: str, accumulator: str, rank: int) -> tuple[list[str], list[str], str]:
    """Constants, the requantization of ``[B, N, *out]``, and the name of its result, uint64 with the result in its low bytes.

    The bias joins the constant that is added behind the multiplication: (acc + bias) M + c = acc M + (bias M + c), also where
    both sides wrap. That spares one pass over the accumulators.
    """
    p = prefix
    attributes = [line for name in ("shift", "y_zero_point", "low", "high") for line in fragments.attribute(name, 7)]
    axes = ", ".join(str(1 + axis) for axis in range(rank))
    constants, names = fragments.requantization_constants(
        f"{p}q", multiplier=f"{p}_m", shift="shift", zero_point="y_zero_point", low="low", high="high"
    )
    lines = [
        *attributes,
        f"{p}_axes = Constant<value = int64[{rank}] {{{axes}}}>()",
        f"{p}_m = Unsqueeze(multiplier, {p}_axes)",
        f"{p}_b = Unsqueeze(bias, {p}_axes)",
        *constants,
        f"{p}_b64 = Cast<to = {fragments.UINT64}>({p}_b)",
        f"{p}_bm = Mul({p}_b64, {names.multiplier})",
        f"{p}_addend = Add({p}_bm, {names.addend})",
    ]
    joined = fragments.Requantization(names.multiplier, f"{p}_addend", names.shift, names.low, names.high)
    requantize, result = fragments.requantization(p, accumulator, joined)
    return lines, requantize, result
