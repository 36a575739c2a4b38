"""Clip for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Clip")
def clip(site: Site) -> None:
    """Clipped at both ends."""
    site.map("x", "y", lambda x: site.code.clip(x, site.attributes["low"], site.attributes["high"]))
