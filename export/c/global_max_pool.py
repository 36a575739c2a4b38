"""GlobalMaxPool in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import images, index, kind_of

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("GlobalMaxPool")
def global_max_pool(site: Site) -> None:
    """The largest of each channel over the image; the channels come last."""
    x, y = site.input("x"), site.output("y")
    channels = x.shape[-1]
    larger = site.kernel(f"larger_{kind_of(x)}")
    site.comment = "y = the largest x of each channel"
    with images(site, x, y) as (image, result):
        site.line(f"memcpy({result}, {image}, {channels} * sizeof *{y.name});")
        with site.loop("place", x.entries // channels) as place:
            site.line(f"{larger}({result}, {index(image, (place, channels))}, {channels});")
