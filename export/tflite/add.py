"""Add for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.requantization import scaled_sum

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Add")
def add(site: Site) -> None:
    """Both at one scale, one rounding."""
    attributes, code = site.attributes, site.code
    terms = []
    for name in ("a", "b"):
        zero_point = attributes[f"{name}_zero_point"]
        factor = np.array(attributes[f"{name}_multiplier"])
        terms.append((code.subtract(site.input(name), zero_point), factor, site.largest(name, zero_point)))
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    site.set("y", scaled_sum(code, terms, 0, attributes["shift"], *bounds))
