"""GlobalAveragePool for LiteRT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import requantize

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("GlobalAveragePool")
def global_average_pool(site: Site) -> None:
    """The sum of all places, then a requantization which divides too."""
    attributes, code = site.attributes, site.code
    x = code.subtract(site.input("x"), attributes["x_zero_point"])
    places = math.prod(site.tensor("x").shape[2:])
    total = code.reduce("SUM", code.reshape(x, (*x.shape[:2], places)), 2)
    y = requantize(
        code,
        total,
        site.constant("multiplier"),
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=min(places * site.largest("x", attributes["x_zero_point"]), 2**31 - 1),
    )
    site.set("y", y)
