"""Pad in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import images
from qdeploy.export.c.walks import Size, View, contiguous, copy_views

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Pad")
def pad(site: Site) -> None:
    """All of y is filled, then the image is copied into its middle; the channels come last."""
    x, y = site.input("x"), site.output("y")
    pads = site.attributes["pads"]
    before = pads[: len(pads) // 2]
    site.comment = f"x with its zero point around each image, pads {list(pads)}"
    fill = site.kernel(f"fill_{'u8' if y.tensor.dtype.name == 'uint8' else 's16'}")
    inner, outer = ([Size(size) for size in operand.shape[1:]] for operand in (x, y))
    strides = contiguous(outer)
    start = tuple(stride * Size(first) for stride, first in zip(strides, before, strict=False))
    with images(site, x, y) as (image, result):
        site.line(f"{fill}({result}, {site.attributes['zero_point']}, {y.entries});")
        target, source = (f"({name})" if " " in name else name for name in (result, image))
        copy_views(site, inner, View(target, strides, start), View(source, contiguous(inner)))
