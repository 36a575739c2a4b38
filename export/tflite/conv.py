"""Conv for LiteRT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.builtin import convolution, is_builtin
from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.product import Digits, MatrixProduct, quaternion_sum
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.windows import Windows, channels_last, channels_second
from qdeploy.runtime.hamilton_product import components_of
from qdeploy.runtime.numeric import product_bound

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray


_SMALL = 4096
"""Weights that are written in full though they are quaternions: to add up the products of components takes longer than three
quarters of 4 KiB are worth. The first convolution of Conv-2, 32 x 32 places, takes 0.4 ms instead of 0.8 ms.
"""


@tflite_operator("Conv")
def conv(site: Site) -> None:
    """Windows times weights, all taps of a window side by side, in one product.

    CONV_2D or DEPTHWISE_CONV_2D where the rule of its rounding is LiteRT's.
    """
    if is_builtin(site):
        convolution(site)
        return
    attributes, code = site.attributes, site.code
    accumulator, out, bound = convolved(site)
    y = requantize(
        code,
        accumulator,
        site.constant("multiplier"),
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=bound,
    )
    site.set("y", channels_second(code, code.reshape(y, out)))


def convolved(site: Site) -> tuple[Value, tuple[int, ...], int]:
    """The accumulator, int32 ``[P, N]`` with the bias, the output's shape ``(*out, N)``, and a bound of the accumulator."""
    attributes, code = site.attributes, site.code
    tensor, weight = site.tensor("x"), site.constant("weight")
    windows = Windows(
        tensor.shape[2:],
        weight.shape[2:],
        tuple(attributes["strides"]),
        tuple(attributes["dilations"]),
        tuple(attributes["pads"]),
    )
    zero_point = attributes["x_zero_point"]
    bias = site.constant("bias").astype(np.int64)
    if weight.shape[1] == 1 and attributes["group"] > 1:
        accumulator = code.add(
            _depthwise(code, windows, channels_last(code, site.input("x")), zero_point, weight), bias
        )
    else:
        accumulator = _accumulator(site, windows, weight, bias)
    reach = product_bound(weight.reshape(len(weight), -1), site.largest("x", zero_point)) + int(np.abs(bias).max())
    return accumulator, (*windows.out, len(weight)), min(reach, 2**31 - 1)


def _accumulator(site: Site, windows: Windows, weight: IntArray, bias: IntArray) -> Value:
    """int32 ``[P, N]`` by products of digits."""
    attributes, code = site.attributes, site.code
    digits, zero_point = Digits.of(site.tensor("x").dtype), attributes["x_zero_point"]
    parts = digits.split(code, channels_last(code, site.input("x")))
    terms = []
    for scale, part, fill in zip(digits.scales, parts, digits.numbers(zero_point), strict=True):
        product = _product(code, windows, part, fill, weight, attributes["group"])
        terms.append(code.multiply(product, scale))
    rest = weight.reshape(len(weight), -1).astype(np.int64).sum(axis=1) * (digits.constant - zero_point)
    return code.add(code.total(terms), rest + bias)


def _depthwise(code: Code, windows: Windows, image: Value, zero_point: int, weight: IntArray) -> Value:
    """int32 ``[P, N]`` of an int32 image ``[*S, C]`` and kernels of one channel each, ``[N, 1, *k]``: tap by tap."""
    outputs, channels = len(weight), image.shape[-1] or 0
    if outputs != channels:
        owners = np.arange(outputs) // (outputs // channels)
        image = code.gather(image, code.subgraph.constant(owners), axis=len(image.shape) - 1)
    padded = windows.padded(code, code.subtract(image, zero_point), 0)
    by_tap = code.cast(code.subgraph.constant(weight.reshape(outputs, -1).T, np.int8), np.int32)
    factors = code.split(by_tap, [1] * math.prod(windows.kernel), 0)
    terms = (code.multiply(value, factor) for value, factor in zip(windows.taps(code, padded), factors, strict=True))
    return code.reshape(code.total(terms), (math.prod(windows.out), outputs))


def _product(code: Code, windows: Windows, image: Value, fill: int, weight: IntArray, groups: int) -> Value:
    """int32 ``[P, N]`` of an image ``[*S, C]`` of int8 and weights ``[N, C/G, *k]``."""
    outputs, inside = weight.shape[:2]
    by_tap = weight.reshape(outputs, inside, -1)
    taps, places = by_tap.shape[2], math.prod(windows.out)
    if groups == 1 and weight.size > _SMALL and not (outputs % 4 or inside % 4):
        # Parts of the quaternions before taps: then a quaternion kernel's four components are what a product needs.
        by_part = by_tap.reshape(outputs, 4, inside // 4, taps).transpose(0, 1, 3, 2).reshape(outputs, taps * inside)
        found = components_of(by_part)
        if found is not None and found[1] == "blocked":
            return _quaternion(code, windows, image, fill, found[0])
    rows = windows.rows(code, windows.padded(code, image, fill))
    if groups == 1:
        return MatrixProduct.plain(code, rows, by_tap.transpose(0, 2, 1).reshape(outputs, taps * inside), compact=False)
    split = code.reshape(rows, (places, taps, groups, inside))
    by_group = code.reshape(code.transpose(split, [2, 0, 1, 3]), (groups, places, taps * inside))
    matrices = by_tap.reshape(groups, outputs // groups, inside, taps).transpose(0, 3, 2, 1)
    stacked = matrices.reshape(groups, taps * inside, outputs // groups)
    products = MatrixProduct.stacked(code, by_group, stacked)
    return code.reshape(code.transpose(products, [1, 0, 2]), (places, outputs))


def _quaternion(code: Code, windows: Windows, image: Value, fill: int, components: IntArray) -> Value:
    """int32 ``[P, N]`` of an image ``[*S, C]`` and components ``[4, N/4, taps * C/4]``: four images, one a part, times each."""
    axes = len(windows.size)
    outputs, places = components.shape[1], math.prod(windows.out)
    parts = code.reshape(image, (*windows.size, 4, (image.shape[-1] or 0) // 4))
    by_part = code.transpose(parts, [axes, *range(axes), axes + 1])
    rows = windows.rows(code, windows.padded(code, by_part, fill, before=1), before=1)
    products = [MatrixProduct.plain(code, rows, component, compact=False) for component in components]
    whole = quaternion_sum(code, products)
    return code.reshape(code.transpose(whole, [1, 0, 2]), (places, 4 * outputs))
