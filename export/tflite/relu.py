"""Relu for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("Relu")
def relu(site: Site) -> None:
    """Clipped from below."""
    site.map("x", "y", lambda x: site.code.maximum(x, site.attributes["zero_point"]))
