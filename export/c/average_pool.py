"""AveragePool in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.c.emitter import c_operator
from qdeploy.export.c.image import Windows, images, kind_of
from qdeploy.export.c.pooling import requantize_sums

if TYPE_CHECKING:
    from qdeploy.export.c.site import Site


@c_operator("AveragePool")
def average_pool(site: Site) -> None:
    """The sum of each window and one rounding; the multiplier holds the division by the number of places."""
    x, y = site.input("x"), site.output("y")
    attributes = site.attributes
    windows = Windows.of(x.shape, y.shape, attributes["kernel"], attributes)
    kind = kind_of(x)
    sums = site.scratch("sums", "int32", windows.channels)
    add = site.kernel(f"sum_{kind}")
    site.comment = (
        "y = clip(round((sum of x - x_zero_point over a window) * multiplier / 2^shift) + y_zero_point)\n"
        f"   {windows.describe()}"
    )
    counts = _counts(site, windows) if site.constant("multipliers").size > 1 else None
    with images(site, x, y) as (image, result), windows.positions(site, result) as (position, target):
        site.line(f"memset({sums}, 0, {windows.channels} * sizeof *{sums});")
        with windows.places_inside(site, image, position) as (_, source):
            site.line(f"{add}({sums}, {source}, {attributes['x_zero_point']}, {windows.channels});")
        multipliers = site.array("multipliers", site.constant("multipliers"))
        if counts is not None:
            factors = " * ".join(text.format(at) for text, at in zip(counts, position, strict=True))
            multipliers = f"{multipliers} + ({factors} - 1)"
        requantize_sums(site, target, y, sums, multipliers, windows.channels)


def _counts(site: Site, windows: Windows) -> list[str]:
    """By axis, how many counted places a window has along it: a number, or an array's entry at the place ``{}``."""
    rank = len(site.attributes["kernel"])
    counted = site.attributes["counted"]
    found: list[str] = []
    for axis in range(len(windows.kernel)):
        own = axis - len(windows.kernel) + rank
        before, behind = (counted[own], counted[rank + own]) if own >= 0 else (0, 0)
        starts = np.arange(windows.out[axis]) * windows.strides[axis] - windows.before[axis]
        places = starts[:, None] + np.arange(windows.kernel[axis])
        inside = (places >= -before) & (places < windows.sizes[axis] + behind)
        numbers = inside.sum(axis=1).astype(np.int32)
        if (numbers == numbers[0]).all():
            found.append(str(int(numbers[0])))
        else:
            found.append(f"{site.array(f'counts_{axis}', numbers, note='counted places of a window')}[{{}}]")
    return found
