"""Add for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.byte_tensor import OFFSET, ByteTensor, cast_into, new
from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import scaled_sum

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Add")
def add(site: Site) -> None:
    """Both at one scale, one rounding."""
    images = site.images("a", "b")
    if images is not None and site.tensor("y").dtype == np.uint8:
        _images(site, images)
        return
    attributes, code = site.attributes, site.code
    terms = []
    for name in ("a", "b"):
        zero_point = attributes[f"{name}_zero_point"]
        factor = np.array(attributes[f"{name}_multiplier"])
        terms.append((code.subtract(site.input(name), zero_point), factor, site.largest(name, zero_point)))
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    site.set("y", scaled_sum(code, terms, 0, attributes["shift"], *bounds))


def _images(site: Site, images: list[ByteTensor]) -> None:
    """Of bytes with channels last, and so is the sum: nothing is moved. What bytes are less than uint8 is a constant."""
    attributes, code = site.attributes, site.code
    terms, addend = [], 0
    for name, image in zip(("a", "b"), images, strict=True):
        factor = int(attributes[f"{name}_multiplier"])
        terms.append((code.cast(image.value, np.int32), np.array(factor), OFFSET))
        addend += (OFFSET - attributes[f"{name}_zero_point"]) * factor
    low, high, zero_point = (int(attributes[name]) for name in ("low", "high", "y_zero_point"))
    total = scaled_sum(code, terms, addend, attributes["shift"], 0, -(2**31), 2**31 - 1)
    # Sums that rectify are the clip: MAXIMUM and MINIMUM with a number take ten times as long.
    above_low = code.add(total, zero_point - low, rectified=True)
    below_high = code.difference(high - low, above_low, rectified=True)
    y = new(code, images[0].value.shape, zero_point)
    cast_into(code, code.difference(high - OFFSET, below_high), y)
    site.set_bytes("y", ByteTensor(y, zero_point, last=True))
