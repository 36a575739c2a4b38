"""Expand in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.walks import View, broadcast_view, contiguous, copy_views, extents

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Expand")
def expand(site: Site) -> None:
    """y = x, repeated along axes of one entry."""
    x, y = site.input("x0", "x"), site.output("y0", "y")
    shape = extents(y.tensor, whole=site.whole)
    site.comment = "y = x, repeated along its axes of one entry"
    copy_views(site, shape, View(y.name, contiguous(shape)), broadcast_view(x, shape, whole=site.whole))
