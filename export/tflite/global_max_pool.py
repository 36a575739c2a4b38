"""GlobalMaxPool for LiteRT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("GlobalMaxPool")
def global_max_pool(site: Site) -> None:
    """The largest of all places."""
    x = site.input("x")
    flat = site.code.reshape(x, (*x.shape[:2], math.prod(site.tensor("x").shape[2:])))
    site.set("y", site.code.reduce("REDUCE_MAX", flat, 2))
