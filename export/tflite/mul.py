"""Mul for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import requantize

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Mul")
def mul(site: Site) -> None:
    """The product in 32 bits, then one requantization."""
    attributes, code = site.attributes, site.code
    a, b = (code.subtract(site.input(name), attributes[f"{name}_zero_point"]) for name in ("a", "b"))
    sizes = [site.largest(name, attributes[f"{name}_zero_point"]) for name in ("a", "b")]
    y = requantize(
        code,
        code.multiply(a, b),
        np.array([attributes["multiplier"]]),
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=sizes[0] * sizes[1],
    )
    site.set("y", y)
