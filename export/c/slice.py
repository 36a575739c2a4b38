"""Slice in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.walks import Size, View, contiguous, copy_views, extents, refuse

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Slice")
def slice_(site: Site) -> None:
    """y = x from starts to ends, by steps; along a sequence's steps all of them, all backwards, or the last one."""
    x, y = site.input("x0", "x"), site.output("y0", "y")
    own, shape = extents(x.tensor, whole=site.whole), extents(y.tensor, whole=site.whole)
    reach = contiguous(own)
    strides, start = list(reach), []
    starts, ends = site.constant("x1").tolist(), site.constant("x2").tolist()
    axes = site.constant("x3").tolist() if site.has("x3") else list(range(len(starts)))
    steps = site.constant("x4").tolist() if site.has("x4") else [1] * len(starts)
    for first, last, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis % len(own)
        if own[at].power:
            start += _along_steps(site, first, last, step, reach[at], kept=bool(shape[at].power))
        else:
            size = own[at].number
            begin = min(max(first + size if first < 0 else first, 0), size - 1 if step < 0 else size)
            start.append(reach[at] * Size(begin))
        strides[at] = reach[at] * Size(step)
    site.comment = f"y = x from {starts} to {ends} along {axes}, by {steps}"
    copy_views(site, shape, View(y.name, contiguous(shape)), View(x.name, tuple(strides), tuple(start)))


def _along_steps(site: Site, first: int, last: int, step: int, reach: Size, *, kept: bool) -> list[Size]:
    """Where a slice along the steps of a whole sequence begins: terms of steps and of one."""
    if first == 0 and step == 1 and kept:
        return []
    if (first == -1 and step == -1 and kept) or (first == -1 and not kept):
        return [Size(reach.number, reach.power + 1), Size(-reach.number, reach.power)]
    raise refuse(site, f"a slice of steps from {first} to {last} by {step}")
