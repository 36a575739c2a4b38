"""Concat in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.walks import Size, View, contiguous, copy_views, extents, refuse

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Concat")
def concat(site: Site) -> None:
    """The inputs side by side along an axis of y."""
    y = site.output("y0", "y")
    whole = extents(y.tensor, whole=site.whole)
    axis = site.attributes["axis"] % len(whole)
    if whole[axis].power:
        raise refuse(site, "a concatenation of steps")
    strides, place = contiguous(whole), 0
    site.comment = f"y = {', '.join(site.layer.inputs)} side by side along axis {axis}"
    for argument in site.layer.inputs:
        x = site.input(argument)
        shape = extents(x.tensor, whole=site.whole)
        start = (strides[axis] * Size(place),)
        copy_views(site, shape, View(y.name, strides, start), View(x.name, contiguous(shape)))
        place += shape[axis].number
