"""ModRelu in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import sum_of

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("ModRelu")
def modrelu(site: Site) -> None:
    """y = clip(sgn(x) max(|x| + bias, 0), -2^15, 2^15 - 1), sgn 0 = 0."""
    x, y = site.input("x"), site.output("y")
    units = x.shape[-1]
    bias = site.array("bias", site.constant("bias"))
    site.comment = "y = clip(sgn(x) max(|x| + bias, 0), -2^15, 2^15 - 1)"
    with site.loop("row", site.rows(x)) as row, site.loop("n", units) as n:
        place = sum_of((row, units), (n, 1))
        site.line(f"const int32_t value = {x.name}[{place}];")
        site.line(f"int32_t size = (value < 0 ? -value : value) + {bias}[{n}];")
        site.line("size = size < 0 || value == 0 ? 0 : size;")
        site.line("size = value < 0 ? (size > 32768 ? -32768 : -size) : size > 32767 ? 32767 : size;")
        site.line(f"{y.name}[{place}] = (int16_t)size;")
