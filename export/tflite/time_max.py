"""TimeMax for LiteRT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.tflite.emitter import tflite_operator

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site


@tflite_operator("TimeMax")
def time_max(site: Site) -> None:
    """The largest of all steps."""
    x = site.input("x")
    site.set("y", site.code.reduce("REDUCE_MAX", x, site.attributes["axis"] % len(x.shape)))
