"""Relu in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Relu")
def relu(site: Site) -> None:
    """y = max(x, zero_point)."""
    x, y = site.input("x"), site.output("y")
    zero_point = site.attributes["zero_point"]
    site.comment = "y = max(x, zero_point)"
    with site.loop("n", site.count(x)) as n:
        site.line(f"{y.name}[{n}] = {x.name}[{n}] > {zero_point} ? {x.name}[{n}] : {zero_point};")
