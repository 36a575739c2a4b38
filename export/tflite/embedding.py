"""Embedding for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.tables import narrow
from qdeploy.runtime.numeric import requantize

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Embedding")
def embedding(site: Site) -> None:
    """Rows of the table, which is requantized here and now: it depends on constants only."""
    attributes = site.attributes
    multiplier = site.constant("multiplier").reshape(-1, 1)
    bounds = (attributes["y_zero_point"], attributes["low"], attributes["high"])
    rows = requantize(site.constant("weight").astype(np.int64), multiplier, attributes["shift"], *bounds)
    held = narrow(rows)
    site.set("y", site.code.cast(site.code.gather(held, site.input("indices"), dtype=held.dtype), np.int32))
