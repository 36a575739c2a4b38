"""MaxPool in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import Windows, images, kind_of

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("MaxPool")
def max_pool(site: Site) -> None:
    """The largest of each window, channel by channel; the channels come last."""
    x, y = site.input("x"), site.output("y")
    windows = Windows.of(x.shape, y.shape, site.attributes["kernel"], site.attributes)
    kind, lowest = kind_of(x), 0 if kind_of(x) == "u8" else -(2**15)
    fill, larger = site.kernel(f"fill_{kind}"), site.kernel(f"larger_{kind}")
    site.comment = f"y = the largest x of each window\n   {windows.describe()}"
    with images(site, x, y) as (image, result), windows.positions(site, result) as (position, target):
        site.line(f"{fill}({target}, {lowest}, {windows.channels});")
        with windows.places_inside(site, image, position) as (_, source):
            site.line(f"{larger}({target}, {source}, {windows.channels});")
