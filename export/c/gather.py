"""Gather with constant indices in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.walks import ONE, Size, View, contiguous, copy_views, extents, loops, refuse

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site

_BYTE = 256


@c_operator("Gather")
def gather(site: Site) -> None:
    """y = x at constant indices along an axis; along a sequence's steps the last one, or the first."""
    x, y = site.input("x0", "x"), site.output("y0", "y")
    indices = site.constant("x1")
    own = extents(x.tensor, whole=site.whole)
    axis = site.attributes.get("axis", 0) % len(own)
    before, size, behind = own[:axis], own[axis], own[axis + 1 :]
    strides = contiguous(own)
    reach = strides[axis]
    flat = indices.reshape(-1)
    shape = (*before, Size(flat.size), *behind)
    target = View(y.name, contiguous(shape))
    if size.power and flat.tolist() not in ([0], [-1]):
        raise refuse(site, f"a choice of the steps {flat.tolist()}")
    if flat.size == 1:
        first = int(flat[0])
        last = [Size(reach.number, reach.power + 1)] if size.power else [reach * size]
        start = (*last, Size(-reach.number, reach.power)) if first == -1 else (reach * Size(first % size.number),)
        site.comment = f"y = x at index {first} of axis {axis}"
        copy_views(site, shape, target, View(x.name, (*strides[:axis], Size(0), *strides[axis + 1 :]), start))
        return
    # Where each chosen piece begins in x; indices below 0 count from the end.
    places = (flat.astype(np.int64) % size.number) * reach.number
    small = int(places.max()) < _BYTE
    table = site.array(
        "places", places.astype(np.uint8 if small else np.int32), note=f"where the indices of axis {axis} begin"
    )
    table = table if small else f"(size_t){table}"
    site.comment = f"y = x at constant indices along axis {axis}"
    to, of = (*target.strides[:axis], *target.strides[axis + 1 :]), (*strides[:axis], *strides[axis + 1 :])
    if reach == ONE:
        views = (View(y.name, to), View(x.name, of))
        with loops(site, (*before, *behind), views) as (vector, source), site.loop("chosen", int(flat.size)) as chosen:
            site.line(f"{y.name}[{vector} + {chosen}] = {x.name}[{source} + {table}[{chosen}]];")
        return
    with site.loop("chosen", int(flat.size)) as chosen:
        source = f"({x.name} + {table}[{chosen}]{' * steps' * reach.power})"
        copy_views(site, (*before, *behind), View(f"({y.name} + {chosen} * {reach.text})", to), View(source, of))
