"""Requantize for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import requantize as requantized

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Requantize")
def requantize(site: Site) -> None:
    """The same values at another scale."""
    attributes, code = site.attributes, site.code
    y = requantized(
        code,
        code.subtract(site.input("x"), attributes["x_zero_point"]),
        site.constant("multiplier"),
        attributes["shift"],
        attributes["y_zero_point"],
        attributes["low"],
        attributes["high"],
        bound=site.largest("x", attributes["x_zero_point"]),
    )
    site.set("y", y)
