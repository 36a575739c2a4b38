"""Conv and QLinearConv in C: strips of rows, products of four windows at a time, quaternion weights as four components."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import Windows, images, index, kind_of, sum_of
from qdeploy.export.c.pooled_rows import POOL
from qdeploy.export.c.product import MatrixProduct, Run
from qdeploy.export.c.quaternion_order import QuaternionOrder, by_parts, quaternion_order
from qdeploy.export.c.requantization import requantize_runs

if TYPE_CHECKING:
    from qdeploy.export.c.site import Operand, Site
    from qdeploy.runtime.numeric import IntArray

_TOGETHER = 4
"""Windows that one call of a kernel of four takes."""

_PARTS = 4
_KERNELS_OF_FOUR = {"matvec_u8_w8": "matvec4_u8_w8"}


@dataclass(frozen=True)
class _Product:
    """What is done with one window.

    Attributes:
        direct: whether windows are read from the image, without a strip.
        parts: of the channels, which lie apart in the strip.
        size: entries of an accumulator.
        runs: where the outputs stand in it.
        start: int32: what it holds before.
        call: the statement for an accumulator and a window.
        four: the same for four windows, each a number of entries behind the one before; None where no kernel does so.
        order: of a product by components: how the channels lie.
    """

    direct: bool
    parts: int
    size: int
    runs: tuple[Run, ...]
    start: IntArray
    call: Callable[[str, str], str]
    four: Callable[[str, str, int], str] | None = None
    order: QuaternionOrder | None = None


@c_operator("Conv", "QLinearConv")
def conv(site: Site) -> None:
    """For each row of outputs a strip; for each window in it a product and a requantization."""
    x, y = site.input("x"), site.output("y")
    weight = site.constant("weight")
    pool = site.attributes.get(POOL)
    between = y.shape if pool is None else pool["between"]
    windows = Windows.of(x.shape, between, weight.shape[2:], site.attributes)
    rows = _Rows.of(site, windows, x, y, weight)
    site.comment = (
        "y = clip(round((sum of W (x - x_zero_point) over a window + b) * multiplier / 2^shift) + y_zero_point)\n"
        f"   {windows.describe()} to {len(weight)}"
    )
    if pool is not None:
        _into_pool(site, rows, Windows.of(between, y.shape, pool["kernel"], pool))
        return
    width = windows.out[2] * rows.outputs
    with images(site, x, y) as (image, result), windows.output_rows(site) as (depth, row):
        rows.emit(site, image, depth, row, index(result, (depth, windows.out[1] * width), (row, width)))


def _into_pool(site: Site, rows: _Rows, pool: Windows) -> None:
    """Each row of the convolution, as soon as it is there, into the maximum of the windows that it belongs to."""
    x, y, channels = rows.x, rows.y, pool.channels
    kind = kind_of(y)
    fill, larger = site.kernel(f"fill_{kind}"), site.kernel(f"larger_{kind}")
    line = site.scratch("line", y.tensor.dtype, pool.sizes[2] * channels)
    lowest, width = 0 if kind == "u8" else -(2**15), pool.out[2] * channels
    site.comment += f";\n   then the largest of each window: {pool.describe()}"
    with images(site, x, y) as (image, result), pool.output_rows(site) as (depth, row):
        target = index(result, (depth, pool.out[1] * width), (row, width))
        site.line(f"{fill}({target}, {lowest}, {width});")
        with site.loop("pz", pool.kernel[0]) as pz, site.loop("py", pool.kernel[1]) as py:
            first = sum_of((depth, pool.strides[0]), (pz, 1))
            second = sum_of((row, pool.strides[1]), (py, 1))
            rows.emit(site, image, first, second, line)
            with site.loop("column", pool.out[2]) as column, site.loop("px", pool.kernel[2]) as px:
                to = index(target, (column, channels))
                source = index(line, (column, pool.strides[2] * channels), (px, channels))
                site.line(f"{larger}({to}, {source}, {channels});")


@dataclass(frozen=True)
class _Rows:
    """What makes one row of outputs.

    Attributes:
        windows: over x.
        product: of one window.
        outputs: N.
        x, y: the layer's.
        strip: the scratch memory of a row's windows; empty where they lie in the image as they are.
        step: how far the windows' columns are apart.
        together: windows that one call takes.
        accumulator, start: names of the accumulators and of what they hold before.
    """

    windows: Windows
    product: _Product
    outputs: int
    x: Operand
    y: Operand
    strip: str
    step: int
    together: int
    accumulator: str
    start: str

    @classmethod
    def of(cls, site: Site, windows: Windows, x: Operand, y: Operand, weight: IntArray) -> _Rows:
        product = _product(site, windows, x, weight)
        strip, step = "", windows.channels
        if not product.direct:
            strip = site.scratch("strip", x.tensor.dtype, product.parts * windows.strip_part(product.parts))
            step = windows.rows * windows.channels // product.parts
        together = _TOGETHER if product.four and windows.dilations[2] == 1 and windows.out[2] >= _TOGETHER else 1
        accumulator = site.scratch("accumulator", "int32", together * product.size)
        start = site.array("bias", product.start, note="with what the zero point of x adds")
        return cls(windows, product, len(weight), x, y, strip, step, together, accumulator, start)

    def emit(self, site: Site, image: str, depth: str, row: str, target: str) -> None:
        """Statements for one row.

        Args:
            site: the layer.
            image: expression of x.
            depth, row: of the outputs.
            target: expression of the row's first output.
        """
        windows = self.windows
        if self.strip:
            source = self.strip
            fill = site.attributes["x_zero_point"]
            apart = self.product.order is not None and self.product.order.inputs
            windows.fill_strip(
                site, source, image, self.x, depth, row, parts=self.product.parts, fill=fill, apart=apart
            )
        else:
            width = windows.sizes[2] * windows.channels
            strides = (windows.strides[0] * windows.sizes[1] * width, windows.strides[1] * width)
            source = index(image, (depth, strides[0]), (row, strides[1]))
        whole, rest = divmod(windows.out[2], self.together)
        with site.loop("column" if self.together == 1 else "four", whole) as column:
            self._windows(site, source, sum_of((column, self.together)), self.together, target)
        if rest:
            with site.loop("column", rest) as column:
                self._windows(site, source, sum_of((column, 1), (1, whole * self.together)), 1, target)

    def _windows(self, site: Site, source: str, column: str, count: int, target: str) -> None:
        """One window, or as many as a call takes together."""
        product, accumulator = self.product, self.accumulator
        window = self.windows.window(source, column, self.step)
        with site.loop("n", count) as n:
            to = index(accumulator, (n, product.size))
            site.line(f"memcpy({to}, {self.start}, {product.size} * sizeof *{accumulator});")
        if count > 1 and product.four:
            site.line(product.four(accumulator, window, self.windows.strides[2] * self.step))
        else:
            site.line(product.call(accumulator, window))
        with site.loop("n", count) as n:
            position = column if n == "0" else sum_of((column, 1), (n, 1))
            of = index(accumulator, (n, product.size))
            self._requantize(site, index(target, (position, self.outputs)), of)

    def _requantize(self, site: Site, target: str, accumulator: str) -> None:
        """One position's outputs; quaternions whose parts shall lie side by side come there from blocks."""
        attributes, order = site.attributes, self.product.order
        apart = order is not None and order.outputs
        blocks = site.scratch("blocks", self.y.tensor.dtype, self.outputs) if apart else target
        requantize_runs(
            site,
            blocks,
            self.y.tensor.dtype,
            accumulator,
            self.product.runs,
            multiplier=_in_blocks(site.constant("multiplier"), order),
            shift=attributes["shift"],
            zero_point=attributes["y_zero_point"],
            low=attributes["low"],
            high=attributes["high"],
        )
        if apart:
            site.line(
                f"{site.kernel(f'side_by_side_{kind_of(self.y)}')}({target}, {blocks}, {self.outputs // _PARTS});"
            )


def _lies_in_image(windows: Windows, x: Operand, parts: int, *, apart: bool = False) -> bool:
    """Whether every window is one piece of the image already: no row but one, nothing outside, no channels to be moved.

    Behind the last window a kernel may read on, for columns whose weights are 0; memory of the caller ends there.
    """
    return (
        windows.rows == 1
        and not windows.padded
        and not apart
        and (windows.kernel[2] == 1 or (parts == 1 and windows.dilations[2] == 1))
        and x.slack
    )


def _product(site: Site, windows: Windows, x: Operand, weight: IntArray) -> _Product:
    group = site.attributes["group"]
    if group > 1:
        one_each = group == windows.channels == len(weight)
        return _depthwise(site, windows, x, weight) if one_each else _grouped(site, windows, x, weight, group)
    return _dense(site, windows, x, weight)


def _dense(site: Site, windows: Windows, x: Operand, weight: IntArray) -> _Product:
    order = quaternion_order(weight, kind_of(x), site.target.tile)
    parts = 1 if order is None else _PARTS
    matrix = _columns(weight if order is None else order.weight, parts)
    product = MatrixProduct.of(site, "weight", x, site.attributes["x_zero_point"], matrix=matrix)
    direct = _lies_in_image(windows, x, parts, apart=order is not None and order.inputs)
    if product.part and not direct:
        # In the strip, a part begins behind all columns of the one before.
        product = replace(product, part=windows.strip_part(_PARTS))
    four = _KERNELS_OF_FOUR.get(product.kernel) if product.lowest is None else None
    if four is not None:
        site.kernel(four)

    def call_four(accumulator: str, window: str, stride: int) -> str:
        return f"{four}({accumulator}, {product.weight}, {window}, {stride}, {product.rows}, {product.columns});"

    return _Product(
        direct,
        parts,
        product.size,
        product.runs,
        product.start(_in_blocks(site.constant("bias"), order)),
        product.call,
        call_four if four is not None else None,
        order,
    )


def _depthwise(site: Site, windows: Windows, x: Operand, weight: IntArray) -> _Product:
    """A filter of one channel for each: products of vectors over the channels."""
    channels = windows.channels
    kernel = site.kernel(f"depthwise_{kind_of(x)}")
    name = site.array(
        "weight", _columns(weight, 1).T, note=f"{windows.places} places x {channels} channels, of 8 bits", aligned=True
    )

    def call(accumulator: str, window: str) -> str:
        return f"{kernel}({accumulator}, {name}, {window}, {windows.places}, {channels});"

    runs = (Run(0, channels, 0),)
    return _Product(_lies_in_image(windows, x, 1), 1, channels, runs, _start(site, weight), call)


def _grouped(site: Site, windows: Windows, x: Operand, weight: IntArray, group: int) -> _Product:
    """Groups of channels, each with a small matrix of its own, in full."""
    outputs, columns = len(weight), weight[0].size
    kernel = site.kernel(f"grouped_{kind_of(x)}")
    matrix = _columns(weight, 1)
    name = site.array("weight", matrix, note=f"{group} groups: {outputs // group} x {columns}, of 8 bits", aligned=True)
    direct = _lies_in_image(windows, x, group)
    part = columns if direct else windows.strip_part(group)

    def call(accumulator: str, window: str) -> str:
        return f"{kernel}({accumulator}, {name}, {window}, {part}, {group}, {outputs // group}, {columns});"

    return _Product(direct, group, outputs, (Run(0, outputs, 0),), _start(site, weight), call)


def _columns(weight: IntArray, parts: int) -> IntArray:
    """``[N, C, *K]`` as ``[N, K']``, columns in the order of the strip: part of the channels, column, depth, height, channel."""
    outputs, channels, *kernel = weight.shape
    split = weight.reshape(outputs, parts, channels // parts, math.prod(kernel[:-1]), kernel[-1])
    return np.ascontiguousarray(split.transpose(0, 1, 4, 3, 2)).reshape(outputs, -1)


def _start(site: Site, weight: IntArray) -> IntArray:
    """The bias and what the zero point adds, modulo 2^32."""
    sums = weight.reshape(len(weight), -1).astype(np.int64).sum(axis=1)
    full: IntArray = site.constant("bias") - sums * site.attributes["x_zero_point"]
    return full.astype(np.uint32).view(np.int32)


def _in_blocks(values: IntArray, order: QuaternionOrder | None) -> IntArray:
    """Numbers for each output, in the order of the product's outputs."""
    return by_parts(values, 0) if order is not None and order.outputs and values.size > 1 else values
