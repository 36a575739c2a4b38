"""Body of Conv as a matrix product: the numbers that each position reads, side by side in a row, times the kernel.

onnxruntime's product of uint8 rows with an int8 matrix is several times faster than its ConvInteger. It is exact on
every processor where no pair of weights can leave 16 bits (weights of 7 bits, ``functions.weight_form``). Weights of 8 bits
become W = A + B with A and B within +-64, and two products.

Images are processed one by one, in a Scan over the batch, so that rows, accumulators and the wide numbers of the
requantization stay in the processor's cache; channels stand last inside. Rows are made axis by axis, of slices that
need no size of the image. onnxruntime cancels the transpositions between two such layers, and makes of one and a MaxPool
behind it a pool of channels that stand last.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from qdeploy.export.onnx import fragments
from qdeploy.export.onnx.conv_requantization import ELEMENTS, is_narrow, requantization_of
from qdeploy.export.onnx.fragments import INT8, INT32, UINT8
from qdeploy.export.onnx.functions import Site, function, kind_of, weight_form
from qdeploy.export.onnx.rounding import attributes_of, rounding_of
from qdeploy.runtime.rounding import HALF_UP


@dataclass(frozen=True)
class Rows:
    """One arrangement of the body.

    Attributes:
        kernel: its places along each axis of the image.
        strided: for each axis, whether it has one place and positions more than one apart; with several places they may be.
        padded: whether anything stands around the image.
        form: ``s8``, or ``sum`` for two matrices.
        narrow: whether the requantization stays within 32 bits.
        dtype: ONNX element type of y.
        rounding: the rule of its requantization.
    """

    kernel: tuple[int, ...]
    strided: tuple[bool, ...]
    padded: bool
    form: str
    narrow: bool
    dtype: int
    rounding: str

    @property
    def name(self) -> str:
        """As it stands behind the operator's name."""
        places = "x".join(f"{places}{'s' * strided}" for places, strided in zip(self.kernel, self.strided, strict=True))
        rule = "" if self.rounding == HALF_UP else f"_{self.rounding}"
        form = f"{self.form}{'_narrow' * self.narrow}_{ELEMENTS[self.dtype]}{rule}"
        return f"u8_rows{places}{'_padded' * self.padded}_{form}"


def rows_form(site: Site) -> onnx.FunctionProto | None:
    """The body by rows, or None where the layer has groups, or activations of 16 bits."""
    attributes, weight = site.attributes, site.constants["weight"]
    if kind_of(site, "x") != "u8" or attributes["group"] != 1:
        return None
    rank = weight.ndim - 2
    columns = weight.transpose(*range(2, 2 + rank), 1, 0).reshape(-1, len(weight))
    rows = Rows(
        kernel=weight.shape[2:],
        strided=tuple(
            stride > 1 and places == 1 for stride, places in zip(attributes["strides"], weight.shape[2:], strict=True)
        ),
        padded=any(attributes["pads"]),
        form="s8" if weight_form(columns) == "s8" else "sum",
        narrow=is_narrow(site),
        dtype=int(attributes["dtype"]),
        rounding=rounding_of(site),
    )
    return function("Conv", rows.name, _lines(rows), besides=attributes_of(site))


def _lines(rows: Rows) -> list[str]:
    rank = len(rows.kernel)
    constants, requantize = requantization_of(narrow=rows.narrow, dtype=rows.dtype, rounding=rows.rounding)
    slices, row_lines, row = _rows(rows)
    matrices, products = _products(rows, row)
    kind, unknown = ELEMENTS[rows.dtype], ", ".join("?" * (rank + 1))
    last = ", ".join(map(str, (0, *range(2, rank + 2), 1)))
    first = ", ".join(map(str, (0, rank + 1, *range(1, rank + 1))))
    body = [*row_lines, *products, *requantize]
    return [
        *fragments.attribute("x_zero_point", UINT8, result="x_zero"),
        *constants,
        *matrices,
        *slices,
        f"x_last = Transpose<perm = [{last}]>(x)",
        f"y_last = Scan<num_scan_inputs = 1, body = image (uint8[{unknown}] x_image) => ({kind}[{unknown}] y_image) {{",
        *(f"  {line}" for line in body),
        "}>(x_last)",
        f"y = Transpose<perm = [{first}]>(y_last)",
    ]


def _products(rows: Rows, row: str) -> tuple[list[str], list[str]]:
    """Constants and products: ``acc`` of ``row`` and the kernel, int8 ``[places * channels, outputs]``."""
    rank = len(rows.kernel)
    perm = ", ".join(map(str, (*range(2, rank + 2), 1, 0)))
    lines = [
        "outputs = Shape<start = 0, end = 1>(weight)",
        *fragments.vector("any", [-1]),
        "matrix_shape = Concat<axis = 0>(any, outputs)",
        f"kernel_last = Transpose<perm = [{perm}]>(weight)",
        "matrix = Reshape(kernel_last, matrix_shape)",
    ]
    if rows.form == "s8":
        return lines, [f"acc = MatMulInteger({row}, matrix, x_zero)"]
    lines += [
        f"matrix_32 = Cast<to = {INT32}>(matrix)",
        *fragments.constant("halves", "int32", 2),
        "matrix_half_32 = Div(matrix_32, halves)",
        "matrix_rest_32 = Sub(matrix_32, matrix_half_32)",
        f"matrix_half = Cast<to = {INT8}>(matrix_half_32)",
        f"matrix_rest = Cast<to = {INT8}>(matrix_rest_32)",
    ]
    return lines, [
        f"acc_half = MatMulInteger({row}, matrix_half, x_zero)",
        f"acc_rest = MatMulInteger({row}, matrix_rest, x_zero)",
        "acc = Add(acc_half, acc_rest)",
    ]


def _rows(rows: Rows) -> tuple[list[str], list[str], str]:
    """Constants, lines that make rows ``[*out, places * channels]`` of ``x_image`` ``[*image, channels]``, and their name.

    From the last axis to the first: the image shifted by each place of the kernel, side by side along the channels.
    """
    rank = len(rows.kernel)
    constants = [f"{name} = Constant<value_ints: ints = @{name}>()" for name in ("strides", "dilations")]
    lines, current = [], "x_image"
    if rows.padded:
        constants += [
            "pads = Constant<value_ints: ints = @pads>()",
            "before, after = Split<num_outputs = 2>(pads)",
            *fragments.vector("no_pad", [0]),
            "image_pads = Concat<axis = 0>(before, no_pad, after, no_pad)",
        ]
        lines, current = ["around = Pad(x_image, image_pads, x_zero)"], "around"
    constants += fragments.vector("end", [2**63 - 1])
    for axis in reversed(range(rank)):
        places, strided = rows.kernel[axis], rows.strided[axis]
        if places == 1 and not strided:
            continue
        constants += [
            *fragments.vector(f"axis{axis}", [axis]),
            f"stride{axis} = Gather<axis = 0>(strides, axis{axis})",
            f"step{axis} = Gather<axis = 0>(dilations, axis{axis})",
        ]
        parts = []
        for place in range(places):
            name = f"{axis}_{place}"
            constants += [
                *fragments.vector(f"place{name}", [place]),
                f"start{name} = Mul(place{name}, step{axis})",
            ]
            stop = "end"
            if place < places - 1:
                # So many places before the image's end.
                constants += [
                    *fragments.vector(f"left{name}", [place + 1 - places]),
                    f"stop{name} = Mul(left{name}, step{axis})",
                ]
                stop = f"stop{name}"
            lines.append(f"part{name} = Slice({current}, start{name}, {stop}, axis{axis}, stride{axis})")
            parts.append(f"part{name}")
        current = parts[0]
        if places > 1:
            current = f"row{axis}"
            lines.append(f"{current} = Concat<axis = {rank}>({', '.join(parts)})")
    return constants, lines, current
