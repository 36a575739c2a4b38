"""Add in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.elementwise import two_operands
from qdeploy.export.c.emitter import c_operator

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Add")
def add(site: Site) -> None:
    """Two products, one rounding."""
    left, right = site.attributes["a_multiplier"], site.attributes["b_multiplier"]
    site.comment = (
        "y = clip(round(((a - a_zero_point) * a_multiplier + (b - b_zero_point) * b_multiplier) / 2^shift)\n"
        "   + y_zero_point)"
    )
    two_operands(
        site,
        lambda a, b: a * abs(left) + b * abs(right),
        lambda a, b, cast: f"{cast}{a} * {left} + {cast}{b} * {right}",
    )
