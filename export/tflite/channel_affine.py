"""ChannelAffine for LiteRT."""

from __future__ import annotations

import math
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
    # Three axes whatever x has: tflite-runtime broadcasts four at most.
    axis = len(x.shape) - 1 - attributes["trailing"]
    places = math.prod(site.tensor("x").shape[axis + 1 :])
    flat = code.reshape(
        x, (None if None in x.shape[:axis] else math.prod(site.tensor("x").shape[:axis]), x.shape[axis], places)
    )
    term = (flat, site.constant("multiplier")[:, None], site.largest("x", attributes["x_zero_point"]))
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    site.set("y", scaled_sum(code, [term], site.constant("addend")[:, None], attributes["shift"], *bounds))
