"""What operators on single values have in common: one rounding behind a sum or a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.walks import View, broadcast_view, contiguous, extents, loops

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdeploy.export.c.site import Operand, Site

__all__ = ["Rounding", "centred", "reach", "two_operands"]


_LIMIT = 2**31
_LARGEST_SHIFT = 30


@dataclass(frozen=True)
class Rounding:
    """clip(round(value / 2^shift) + y_zero_point, low, high) by a layer's attributes, in 32 bits where all values fit.

    Attributes:
        site: the layer.
        wide: whether values have 64 bits.
    """

    site: Site
    wide: bool

    @classmethod
    def of(cls, site: Site, bound: int) -> Rounding:
        """For values of at most this magnitude, their parts too."""
        shift, zero_point = site.attributes["shift"], site.attributes["y_zero_point"]
        half = (1 << shift) >> 1
        return cls(site, shift > _LARGEST_SHIFT or bound + half + abs(zero_point) >= _LIMIT)

    @property
    def cast(self) -> str:
        """Before the first factor of a product."""
        return "(int64_t)" if self.wide else ""

    @property
    def type(self) -> str:
        """Of values."""
        return "int64_t" if self.wide else "int32_t"

    def text(self, y: Operand, value: str) -> str:
        """The expression, cast to the type of y."""
        attributes = self.site.attributes
        kernel = self.site.kernel("rounded" if self.wide else "rounded_s32")
        bounds = (attributes[name] for name in ("shift", "y_zero_point", "low", "high"))
        return f"({y.type}){kernel}({value}, {', '.join(map(str, bounds))})"


def reach(x: Operand, zero_point: int) -> int:
    """The largest magnitude of x - zero_point."""
    held = np.iinfo(x.tensor.dtype)
    return max(int(held.max) - zero_point, zero_point - int(held.min))


def two_operands(site: Site, bound: Callable[[int, int], int], value: Callable[[str, str, str], str]) -> None:
    """y = the rounding of what ``value`` makes of a and b, which are broadcast, each less its zero point.

    Args:
        site: the layer.
        bound: of the value, from those of a and b.
        value: its expression, from those of a and b and from the cast before products.
    """
    a, b, y = site.input("a"), site.input("b"), site.output("y")
    shape = extents(y.tensor, whole=site.whole)
    zeros = site.attributes["a_zero_point"], site.attributes["b_zero_point"]
    rounding = Rounding.of(site, bound(reach(a, zeros[0]), reach(b, zeros[1])))
    views = [broadcast_view(operand, shape, whole=site.whole) for operand in (a, b)]

    with loops(site, shape, [*views, View(y.name, contiguous(shape))]) as (at_a, at_b, at_y):
        left = centred(f"{a.name}[{at_a}]", zeros[0])
        right = centred(f"{b.name}[{at_b}]", zeros[1])
        site.line(f"{y.name}[{at_y}] = {rounding.text(y, value(left, right, rounding.cast))};")


def centred(value: str, zero_point: int) -> str:
    """``value - zero_point``."""
    return f"({value} - {zero_point})" if zero_point else value
