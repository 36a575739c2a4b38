"""Tile in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.walks import Size, View, contiguous, copy_views, extents

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Tile")
def tile(site: Site) -> None:
    """y = x, repeated ``repeats[a]`` times along each axis a: two loops for each, of which one does not move x."""
    x, y = site.input("x0", "x"), site.output("y0", "y")
    own = extents(x.tensor, whole=site.whole)
    walked: list[Size] = []
    of: list[Size] = []
    for times, size, stride in zip(site.constant("x1").tolist(), own, contiguous(own), strict=True):
        walked += [Size(times), size]
        of += [Size(0), stride]
    site.comment = f"y = x, {' x '.join(map(str, site.constant('x1').tolist()))} times"
    copy_views(site, walked, View(y.name, contiguous(walked)), View(x.name, tuple(of)))
