"""GlobalAveragePool in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import images, index, kind_of
from qdeploy.export.c.pooling import requantize_sums

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("GlobalAveragePool")
def global_average_pool(site: Site) -> None:
    """The sum of each channel over the image, one rounding; the channels come last."""
    x, y = site.input("x"), site.output("y")
    channels = x.shape[-1]
    sums = site.scratch("sums", "int32", channels)
    add = site.kernel(f"sum_{kind_of(x)}")
    multiplier = site.array("multiplier", site.constant("multiplier"))
    site.comment = "y = clip(round((sum of x - x_zero_point over the image) * multiplier / 2^shift) + y_zero_point)"
    with images(site, x, y) as (image, result):
        site.line(f"memset({sums}, 0, {channels} * sizeof *{sums});")
        with site.loop("place", x.entries // channels) as place:
            source = index(image, (place, channels))
            site.line(f"{add}({sums}, {source}, {site.attributes['x_zero_point']}, {channels});")
        requantize_sums(site, result, y, sums, multiplier, channels)
