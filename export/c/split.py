"""Split in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.walks import Size, View, contiguous, copy_views, extents, refuse

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Split")
def split(site: Site) -> None:
    """y0, y1 and so on are the parts of x along an axis, one after the other."""
    x = site.input("x0", "x")
    own = extents(x.tensor, whole=site.whole)
    axis = site.attributes.get("axis", 0) % len(own)
    if own[axis].power:
        raise refuse(site, "parts of the steps of a sequence")
    strides, place = contiguous(own), 0
    site.comment = f"parts of x along axis {axis}"
    for result, name in site.layer.outputs.items():
        shape = extents(site.graph.tensors[name], whole=site.whole)
        start = (strides[axis] * Size(place),)
        copy_views(site, shape, View(site.output(result).name, contiguous(shape)), View(x.name, strides, start))
        place += shape[axis].number
