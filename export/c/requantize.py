"""Requantize in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.elementwise import Rounding, reach
from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import sum_of

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Requantize")
def requantize(site: Site) -> None:
    """One multiplier for all values, or one for each of the last axis."""
    x, y = site.input("x"), site.output("y")
    multiplier, zero_point = site.constant("multiplier"), site.attributes["x_zero_point"]
    site.comment = "y = clip(round((x - x_zero_point) * multiplier / 2^shift) + y_zero_point)"
    largest = int(np.abs(multiplier.astype(np.int64)).max())
    rounding = Rounding.of(site, reach(x, zero_point) * largest)

    def value(place: str, factor: str) -> str:
        wide = f"{rounding.cast}{x.name}[{place}]"
        return f"{f'({wide} - {zero_point})' if zero_point else wide} * {factor}"

    if multiplier.size == 1:
        with site.loop("n", site.count(x)) as n:
            site.line(f"{y.name}[{n}] = {rounding.text(y, value(n, str(int(multiplier[0]))))};")
        return
    factors, units = site.array("multiplier", multiplier), x.shape[-1]
    with site.loop("row", site.rows(x)) as row, site.loop("n", units) as n:
        place = sum_of((row, units), (n, 1))
        site.line(f"{y.name}[{place}] = {rounding.text(y, value(place, f'{factors}[{n}]'))};")
