"""Table in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Table")
def table(site: Site) -> None:
    """y = entries[x], of a signed index entries[x + half]."""
    x, y = site.input("x"), site.output("y")
    entries = site.constant("entries")
    half = 0 if x.tensor.dtype.name == "uint8" else entries.size // 2
    name = site.array("entries", entries)
    site.comment = f"y = entries[x{f' + {half}' if half else ''}]"
    with site.loop("n", site.count(x)) as n:
        site.line(f"{y.name}[{n}] = {name}[{x.name}[{n}]{f' + {half}' if half else ''}];")
