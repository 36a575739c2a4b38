"""Clip in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Clip")
def clip(site: Site) -> None:
    """y = min(max(x, low), high)."""
    x, y = site.input("x"), site.output("y")
    low, high = site.attributes["low"], site.attributes["high"]
    site.comment = "y = min(max(x, low), high)"
    with site.loop("n", site.count(x)) as n:
        value = f"{x.name}[{n}]"
        site.line(f"{y.name}[{n}] = {value} < {low} ? {low} : {value} > {high} ? {high} : {value};")
