"""TimeMax in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.over_steps import over_steps

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("TimeMax")
def time_max(site: Site) -> None:
    """The largest of all steps."""
    x, y = site.input("x"), site.output("y")
    site.comment = "y = max(x) over the steps"
    with over_steps(site, x, y) as (first, distance, entry, count):
        site.line(f"const {x.type} *v = {first};")
        site.line(f"{x.type} largest = v[0];")
        with site.loop("t", count.count) as t:
            place = f"v[{t} * {distance}]" if distance != "1" else f"v[{t}]"
            site.line(f"largest = {place} > largest ? {place} : largest;")
        site.line(f"{entry} = largest;")
