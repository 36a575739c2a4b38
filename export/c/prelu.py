"""PRelu in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.elementwise import Rounding, centred, reach
from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import sum_of

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("PRelu")
def prelu(site: Site) -> None:
    """A multiplier for positive values, a slope for the others, one rounding; the channels come last."""
    x, y = site.input("x"), site.output("y")
    slopes, multiplier, channels = site.constant("slopes"), site.attributes["multiplier"], x.shape[-1]
    site.comment = (
        "d = x - x_zero_point; y = clip(round((max(d, 0) * multiplier + min(d, 0) * slope) / 2^shift) + y_zero_point)"
    )
    zero_point = site.attributes["x_zero_point"]
    steepest = max(multiplier, int(np.abs(slopes.astype(np.int64)).max()))
    rounding = Rounding.of(site, reach(x, zero_point) * steepest)
    each = slopes.size > 1
    name = site.array("slopes", slopes)
    with site.loop("place", site.rows(x)) as place, site.loop("c", channels) as c:
        at = sum_of((place, channels), (c, 1))
        site.line(f"const {rounding.type} d = {centred(f'{x.name}[{at}]', zero_point)};")
        value = f"d * (d > 0 ? {multiplier} : {name}[{c if each else 0}])"
        site.line(f"{y.name}[{at}] = {rounding.text(y, value)};")
