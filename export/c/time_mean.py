"""TimeMean in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.over_steps import over_steps

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("TimeMean")
def time_mean(site: Site) -> None:
    """The sum in 64 bits, then floor((2 sum + T) / (2 T))."""
    x, y = site.input("x"), site.output("y")
    site.comment = "y = floor((2 sum(x) + T) / (2 T)) over the T steps"
    mean = site.kernel("mean_of_steps")
    with over_steps(site, x, y) as (first, distance, entry, count):
        site.line(f"const {x.type} *v = {first};")
        site.line("int64_t sum = 0;")
        with site.loop("t", count.count) as t:
            site.line(f"sum += v[{t} * {distance}];" if distance != "1" else f"sum += v[{t}];")
        site.line(f"{entry} = ({y.type}){mean}(sum, {count.text});")
