"""What operators on single values have in common: one rounding behind a sum or a product of 64 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeploy.export.c.walks import View, broadcast_view, contiguous, extents, loops

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdeploy.export.c.site import Operand, Site

__all__ = ["centred", "rounded", "two_operands"]


def rounded(site: Site, y: Operand, value: str) -> str:
    """The expression of clip(round(value / 2^shift) + y_zero_point, low, high), cast to the type of y.

    Args:
        site: a layer with these attributes.
        y: its output.
        value: expression of 64 bits.
    """
    attributes = site.attributes
    kernel = site.kernel("rounded")
    return (
        f"({y.type}){kernel}({value}, {attributes['shift']}, {attributes['y_zero_point']}, {attributes['low']}, "
        f"{attributes['high']})"
    )


def two_operands(site: Site, value: Callable[[str, str], str]) -> None:
    """y = what ``value`` makes of the expressions of a and of b, which are broadcast; each less its zero point."""
    a, b, y = site.input("a"), site.input("b"), site.output("y")
    shape = extents(y.tensor, whole=site.whole)
    views = [broadcast_view(operand, shape, whole=site.whole) for operand in (a, b)]

    with loops(site, shape, [*views, View(y.name, contiguous(shape))]) as (at_a, at_b, at_y):
        left = centred(f"{a.name}[{at_a}]", site.attributes["a_zero_point"])
        right = centred(f"{b.name}[{at_b}]", site.attributes["b_zero_point"])
        site.line(f"{y.name}[{at_y}] = {rounded(site, y, value(left, right))};")


def centred(value: str, zero_point: int) -> str:
    """``value - zero_point``."""
    return f"({value} - {zero_point})" if zero_point else value
