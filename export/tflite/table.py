"""Table for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Table")
def table(site: Site) -> None:
    """A look-up; a signed index is moved to start at 0."""
    entries = site.constant("entries").astype(np.int32)
    half = 0 if site.tensor("x").dtype == np.uint8 else entries.size // 2
    site.map("x", "y", lambda x: site.code.gather(entries, site.code.add(x, half)))
