"""ChannelAffine in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.elementwise import Rounding, centred, reach
from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import sum_of

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("ChannelAffine")
def channel_affine(site: Site) -> None:
    """A factor and a constant for each channel, one rounding; the channels come last."""
    x, y = site.input("x"), site.output("y")
    channels = x.shape[-1]
    zero_point = site.attributes["x_zero_point"]
    factors, constants = (np.abs(site.constant(name).astype(np.int64)) for name in ("multiplier", "addend"))
    rounding = Rounding.of(site, int((reach(x, zero_point) * factors + constants).max()))
    multiplier, addend = (site.array(name, site.constant(name)) for name in ("multiplier", "addend"))
    site.comment = "y = clip(round(((x - x_zero_point) * multiplier + addend) / 2^shift) + y_zero_point)"
    with site.loop("place", site.rows(x)) as place, site.loop("c", channels) as c:
        at = sum_of((place, channels), (c, 1))
        value = f"{rounding.cast}{centred(f'{x.name}[{at}]', zero_point)} * {multiplier}[{c}] + {addend}[{c}]"
        site.line(f"{y.name}[{at}] = {rounding.text(y, value)};")
