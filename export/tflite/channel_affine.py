"""ChannelAffine for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import scaled_sum

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("ChannelAffine")
def channel_affine(site: Site) -> None:
    """A factor and a constant for each channel, one rounding."""
    attributes, code = site.attributes, site.code
    x = code.subtract(site.input("x"), attributes["x_zero_point"])
    behind = (-1, *[1] * attributes["trailing"])
    term = (x, site.constant("multiplier").reshape(behind), site.largest("x", attributes["x_zero_point"]))
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    site.set("y", scaled_sum(code, [term], site.constant("addend").reshape(behind), attributes["shift"], *bounds))
