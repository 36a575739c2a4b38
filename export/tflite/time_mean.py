"""TimeMean for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("TimeMean")
def time_mean(site: Site) -> None:
    """floor((2 sum + T) / (2 T)) over the steps."""
    code, x = site.code, site.input("x")
    axis = site.attributes["axis"] % len(x.shape)
    total = code.reduce("SUM", x, axis)
    steps = code.size_of(x, axis)
    site.set("y", code.floor_divide(code.add(code.multiply(total, 2), steps), code.multiply(steps, 2)))
