"""Table for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.export.tflite.tables import narrow

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Table")
def table(site: Site) -> None:
    """A look-up; a signed index is moved to start at 0."""
    code, entries = site.code, narrow(site.constant("entries"))
    half = 0 if site.tensor("x").dtype == np.uint8 else entries.size // 2
    site.map("x", "y", lambda x: code.cast(code.gather(entries, code.add(x, half), dtype=entries.dtype), np.int32))
