"""PRelu for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import scaled_sum

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("PRelu")
def prelu(site: Site) -> None:
    """Positive and negative part, each with its factor, in one sum."""
    attributes, code = site.attributes, site.code
    x = code.subtract(site.input("x"), attributes["x_zero_point"])
    largest = site.largest("x", attributes["x_zero_point"])
    slopes = site.constant("slopes").reshape(-1, *[1] * (len(x.shape) - 2))
    terms = [
        (code.maximum(x, 0), np.array(attributes["multiplier"]), largest),
        (code.minimum(x, 0), slopes, largest),
    ]
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    site.set("y", scaled_sum(code, terms, 0, attributes["shift"], *bounds))
