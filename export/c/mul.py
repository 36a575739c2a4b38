"""Mul in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.elementwise import two_operands
from qdeploy.export.c.emitter import c_operator

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("Mul")
def mul(site: Site) -> None:
    """The product of three, one rounding."""
    multiplier = site.attributes["multiplier"]
    site.comment = "y = clip(round((a - a_zero_point) * (b - b_zero_point) * multiplier / 2^shift) + y_zero_point)"
    two_operands(site, lambda a, b: a * b * multiplier, lambda a, b, cast: f"{cast}{a} * {b} * {multiplier}")
