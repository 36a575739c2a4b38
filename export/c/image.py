"""Windows over images in C: sizes, loops over rows, and the strip in which a row's windows overlap.

Images are ``[*S, C]`` here, one sample; of fewer than three axes they have a depth and a height of 1. The strip holds, for every
column of the padded image, what a window has in it: ``[column][depth and height of the kernel][C]``. The window of an output is
one piece of it, and the next output's begins ``stride`` columns further, so that no entry is copied twice for one row of outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdeploy.export.c.site import Operand, Site

__all__ = ["Windows", "images", "index", "kind_of", "sum_of"]

_AXES = ("depth", "row", "column")


def sum_of(*terms: tuple[str | int, int]) -> str:
    """The expression of a sum of products; what is 0 is left out."""
    words: list[str] = []
    number = 0
    for factor, size in terms:
        if isinstance(factor, int) or factor.isdecimal():
            number += int(factor) * size
        elif size:
            words.append(factor if size == 1 else f"({factor}) * {size}" if " + " in factor else f"{factor} * {size}")
    text = " + ".join(words + ([str(number)] if number > 0 else []))
    return (f"{text} - {-number}" if number < 0 else text) or "0"


def index(name: str, *terms: tuple[str | int, int]) -> str:
    """The expression of a place in an array: ``name + i * 12 + 3``."""
    moved = sum_of(*terms)
    return name if moved == "0" else f"{name} + {moved}"


def kind_of(x: Operand) -> str:
    """The part of a kernel's name that says what type it reads."""
    return {"uint8": "u8", "int16": "s16"}[x.tensor.dtype.name]


@contextmanager
def images(site: Site, x: Operand, y: Operand) -> Iterator[tuple[str, str]]:
    """A loop over the images of a sequence, or none; yields the expressions of x and y."""
    several = site.whole and x.tensor.time_axis is not None
    with site.loop("t", "steps" if several else 1) as step:
        yield index(x.name, (step, x.entries)), index(y.name, (step, y.entries))


@dataclass(frozen=True)
class Windows:
    """The windows of a convolution or a pool, over three axes.

    Attributes:
        sizes: depth, height and width of the image.
        channels: C.
        out: sizes of the result.
        kernel, strides, dilations: one number an axis.
        before, behind: pads.
    """

    sizes: tuple[int, ...]
    channels: int
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    behind: tuple[int, ...]

    @classmethod
    def of(cls, x: Sequence[int], y: Sequence[int], kernel: Sequence[int], attributes: Mapping[str, Any]) -> Windows:
        """From the shapes of x ``[1, *S, C]`` and y ``[1, *out, N]``, and a node's attributes."""
        rank = len(kernel)

        def three(values: Sequence[int], fill: int) -> tuple[int, ...]:
            return (*[fill] * (len(_AXES) - rank), *values)

        pads = attributes["pads"]
        return cls(
            three(x[1:-1], 1),
            x[-1],
            three(y[1:-1], 1),
            three(kernel, 1),
            three(attributes["strides"], 1),
            three(attributes.get("dilations", [1] * rank), 1),
            three(pads[:rank], 0),
            three(pads[rank:], 0),
        )

    @property
    def places(self) -> int:
        """Of one window."""
        return math.prod(self.kernel)

    @property
    def rows(self) -> int:
        """Rows of the image that one window has a place in."""
        return self.kernel[0] * self.kernel[1]

    @property
    def padded(self) -> bool:
        """Whether any window reaches outside."""
        return any(self.before) or any(self.behind)

    def describe(self) -> str:
        """Sizes for a comment."""
        rank = next((place for place, size in enumerate(self.sizes) if size > 1 or self.kernel[place] > 1), 2)

        def text(values: Sequence[int]) -> str:
            return " x ".join(map(str, values[rank:]))

        words = [f"{text(self.kernel)} windows over {text(self.sizes)} x {self.channels}"]
        if set(self.strides) != {1}:
            words.append(f"strides {text(self.strides)}")
        if set(self.dilations) != {1}:
            words.append(f"dilations {text(self.dilations)}")
        if self.padded:
            words.append(f"pads {text(self.before)} and {text(self.behind)}")
        return ", ".join(words)

    @contextmanager
    def output_rows(self, site: Site) -> Iterator[tuple[str, str]]:
        """Loops over depth and height of the result."""
        with site.loop("depth", self.out[0]) as depth, site.loop("row", self.out[1]) as row:
            yield depth, row

    @contextmanager
    def positions(self, site: Site, y: str) -> Iterator[tuple[tuple[str, str, str], str]]:
        """Loops over all outputs of a pool; yields the position and the expression of its channels in y."""
        depth_size, width = self.out[1] * self.out[2] * self.channels, self.out[2] * self.channels
        with self.output_rows(site) as (depth, row), site.loop("column", self.out[2]) as column:
            yield (depth, row, column), index(y, (depth, depth_size), (row, width), (column, self.channels))

    @contextmanager
    def places_inside(
        self, site: Site, x: str, position: tuple[str, str, str]
    ) -> Iterator[tuple[tuple[str, ...], str]]:
        """Loops over the places of a window that are inside of the image; yields the place and its channels in x."""
        with (
            site.loop("kz", self.kernel[0]) as kz,
            site.loop("ky", self.kernel[1]) as ky,
            site.loop("kx", self.kernel[2]) as kx,
        ):
            places, condition = self._from(site, position, (kz, ky, kx))
            width = self.sizes[2] * self.channels
            source = index(x, (places[0], self.sizes[1] * width), (places[1], width), (places[2], self.channels))
            if condition:
                with site.block(f"if ({condition})"):
                    yield places, source
            else:
                yield places, source

    def _from(self, site: Site, out: Sequence[str], inside: Sequence[str]) -> tuple[tuple[str, ...], str]:
        """Of the leading axes: where in the image a place of a window is, and the condition that it is inside.

        A place before the first one is a large number, since indices are unsigned.
        """
        conditions: list[str] = []
        found: list[str] = []
        for axis, (position, k) in enumerate(zip(out, inside, strict=True)):
            place = sum_of((position, self.strides[axis]), (k, self.dilations[axis]), (1, -self.before[axis]))
            name = place
            if not (place.isdecimal() or place in (position, k)):
                name = f"from_{_AXES[axis]}"
                site.line(f"const size_t {name} = {place};")
            if self.before[axis] or self.behind[axis]:
                conditions.append(f"{name} < {self.sizes[axis]}")
            found.append(name)
        return tuple(found), " && ".join(conditions)

    @contextmanager
    def kernel_rows(self, site: Site, depth: str, row: str) -> Iterator[tuple[str, str, str]]:
        """Loops over the rows of one window.

        Yields the number of the row in the kernel, that in the image, and the condition that it is inside, empty where that is
        always so. A row before the first one is a large number, since indices are unsigned.
        """
        with site.loop("kz", self.kernel[0]) as kz, site.loop("ky", self.kernel[1]) as ky:
            found, condition = self._from(site, (depth, row), (kz, ky))
            yield (
                sum_of((kz, self.kernel[1]), (ky, 1)),
                sum_of((found[0], self.sizes[1]), (found[1], 1)),
                condition,
            )

    def strip_columns(self) -> tuple[int, int]:
        """Columns of a strip, and of those that one phase of a dilation has."""
        width = self.before[2] + self.sizes[2] + self.behind[2]
        phase = -(-width // self.dilations[2])
        return phase * self.dilations[2], phase

    def strip_part(self, parts: int) -> int:
        """Entries of one part of the channels in the strip."""
        return self.strip_columns()[0] * self.rows * (self.channels // parts)

    def fill_strip(
        self,
        site: Site,
        strip: str,
        x: str,
        operand: Operand,
        depth: str,
        row: str,
        *,
        parts: int,
        fill: int,
        apart: bool,
    ) -> None:
        """Statements that make the strip of one row of outputs.

        Args:
            site: the layer.
            strip: the scratch memory, ``[parts][columns][rows of the kernel][C / parts]``.
            x: expression of the image.
            operand: what x is.
            depth, row: of the outputs.
            parts: of the channels, which shall lie apart.
            fill: the x that means 0; of int16 it is 0.
            apart: whether four parts lie side by side in x, which has bytes.
        """
        width, size = operand.tensor.dtype.itemsize, self.channels // parts
        step = self.rows * size
        kernel = site.kernel("strip_row_apart" if apart else "strip_row")
        with self.kernel_rows(site, depth, row) as (place, at, condition):
            to = index(strip, (place, size))
            of = index(x, (at, self.sizes[2] * self.channels))
            if width > 1:
                to, of = f"(uint8_t *)({to})", f"(const uint8_t *)({of})"
            source = f"{condition} ? {of} : NULL" if condition else of
            site.line(f"{kernel}({to}, {source},")
            pads = f"{self.before[2]}, {self.sizes[2]}, {self.behind[2]}"
            sizes = f"{size * width}, {self.strip_part(parts) * width}, {step * width}"
            order = f"{self.dilations[2]}, {self.strip_columns()[1]}, {fill}"
            site.line(f"{' ' * len(kernel)} {pads}, {sizes if apart else f'{parts}, {sizes}'}, {order});")

    def window(self, strip: str, column: str, step: int) -> str:
        """The expression of the window of output ``column`` in the strip, whose columns are ``step`` apart."""
        stride, dilation = self.strides[2], self.dilations[2]
        if dilation == 1 or self.out[2] == 1:
            return index(strip, (column, stride * step))
        first = sum_of((column, stride))
        first = f"({first})" if " " in first else first
        phase = self.strip_columns()[1]
        return f"{strip} + ({first} % {dilation} * {phase} + {first} / {dilation}) * {step}"
