"""Transpose in C, where it moves anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.walks import View, contiguous, copy_views, extents

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Transpose")
def transpose(site: Site) -> None:
    """y with its axes in the order of ``perm``: loops over y, each with the stride of its axis in x."""
    x, y = site.input("x0", "x"), site.output("y0", "y")
    shape = extents(y.tensor, whole=site.whole)
    strides = contiguous(extents(x.tensor, whole=site.whole))
    order = site.attributes.get("perm", tuple(reversed(range(len(strides)))))
    site.comment = f"y = x with the axes {', '.join(map(str, order))}"
    copy_views(site, shape, View(y.name, contiguous(shape)), View(x.name, tuple(strides[axis] for axis in order)))
