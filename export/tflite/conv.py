"""Conv for LiteRT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.builtin import convolution, is_builtin
from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.product import Digits, MatrixProduct
from qdeploy.export.tflite.requantization import requantize
from qdeploy.export.tflite.windows import Windows, channels_last, channels_second
from qdeploy.runtime.hamilton_product import components_of
from qdeploy.runtime.numeric import product_bound

if TYPE_CHECKING:
    from qdeploy.export.tflite.arithmetic import Code
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value
    from qdeploy.runtime.numeric import IntArray


@tflite_operator("Conv")
def conv(site: Site) -> None:
    """Windows times weights: a product for each tap of all axes but the last, added up.

    CONV_2D or DEPTHWISE_CONV_2D where the rule of its rounding is LiteRT's.
    """
    if is_builtin(site):
        convolution(site)
        return
    attributes, code = site.attributes, site.code
    tensor, weight = site.tensor("x"), site.constant("weight")
    windows = Windows(
        tensor.shape[2:],
        weight.shape[2:],
        tuple(attributes["strides"]),
        tuple(attributes["dilations"]),
        tuple(attributes["pads"]),
    )
    digits = Digits.of(tensor.dtype)
    zero_point = attributes["x_zero_point"]
    fills = digits.numbers(zero_point)
    parts = digits.split(code, channels_last(code, site.input("x")))
    # Taps come in this order: that of the weight's own axes.
    by_tap = weight.reshape(*weight.shape[:2], -1, weight.shape[-1])
    terms = []
    for scale, part, fill in zip(digits.scales, parts, fills, strict=True):
        taps = windows.taps(code, windows.padded(code, part, fill), together=True)
        for number, (_, values) in enumerate(taps):
            product = _product(code, values, by_tap[:, :, number], attributes["group"], math.prod(windows.out))
            terms.append(code.multiply(product, scale))
    flat = weight.reshape(len(weight), -1)
    bias = site.constant("bias").astype(np.int64)
    rest = flat.astype(np.int64).sum(axis=1) * (digits.constant - zero_point)
    largest = site.largest("x", zero_point)
    y = requantize(
        code,
        code.add(code.total(terms), rest + bias),
        site.constant("multiplier"),
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=min(product_bound(flat, largest) + int(np.abs(bias).max()), 2**31 - 1),
    )
    site.set("y", channels_second(code, code.reshape(y, (*windows.out, len(weight)))))


def _product(code: Code, values: Value, weight: IntArray, groups: int, places: int) -> Value:
    """int32 ``[P, N]`` of ``[*out, k, C]`` and weights ``[N, C/G, k]``."""
    outputs, inside, taps = weight.shape
    if groups == 1 and not (outputs % 4 or inside % 4):
        # Parts of the quaternions before taps: then a quaternion kernel's four components are what a product needs.
        by_part = weight.reshape(outputs, 4, inside // 4, taps).transpose(0, 1, 3, 2).reshape(outputs, taps * inside)
        if components_of(by_part) is not None:
            split = code.transpose(code.reshape(values, (places, taps, 4, inside // 4)), [0, 2, 1, 3])
            return MatrixProduct.plain(code, code.reshape(split, (places, taps * inside)), by_part)
    if groups == 1:
        matrix = weight.transpose(0, 2, 1).reshape(outputs, taps * inside)
        return MatrixProduct.plain(code, code.reshape(values, (places, taps * inside)), matrix)
    split = code.reshape(values, (places, taps, groups, inside))
    by_group = code.reshape(code.transpose(split, [2, 0, 1, 3]), (groups, places, taps * inside))
    matrices = weight.reshape(groups, outputs // groups, inside, taps).transpose(0, 3, 2, 1)
    stacked = matrices.reshape(groups, taps * inside, outputs // groups)
    products = MatrixProduct.stacked(code, by_group, stacked)
    return code.reshape(code.transpose(products, [1, 0, 2]), (places, outputs))
