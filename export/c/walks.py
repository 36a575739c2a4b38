"""Loops over the entries of tensors, and where the operands of one entry stand.

Sizes are products of numbers and, in networks that take whole sequences, of the number of steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdeploy.runtime.errors import UnsupportedModelError

if TYPE_CHECKING:
    from qdeploy.export.c.site import Operand, Site
    from qdeploy.export.sample_graph import Tensor

__all__ = ["ONE", "Axis", "Size", "View", "broadcast_view", "contiguous", "copy_views", "extents", "loops", "refuse"]

_VARIABLES = "ijklmnpq"


@dataclass(frozen=True)
class Size:
    """``number * steps^power``; the power is 0 or 1 in sizes and strides."""

    number: int
    power: int = 0

    def __mul__(self, other: Size) -> Size:
        return Size(self.number * other.number, self.power + other.power if self.number * other.number else 0)

    @property
    def text(self) -> str:
        """In C."""
        words = ["steps"] * self.power
        return " * ".join([str(self.number), *words] if self.number != 1 or not words else words)

    @property
    def count(self) -> int | str:
        """A number where it is one."""
        return self.text if self.power else self.number


ONE = Size(1)


@dataclass(frozen=True)
class View:
    """An operand, seen with the axes of a result: where it begins, and how far an index of each axis moves on.

    Attributes:
        name: expression of the operand.
        strides: one an axis; of 0 where the operand repeats. A negative number walks back.
        start: terms of the beginning.
    """

    name: str
    strides: tuple[Size, ...]
    start: tuple[Size, ...] = ()


@dataclass(frozen=True)
class Axis:
    """One loop: its length, and the strides of all operands in it."""

    extent: Size
    strides: tuple[Size, ...]


def extents(tensor: Tensor, *, whole: bool) -> tuple[Size, ...]:
    """Sizes of a tensor's axes; ``whole``: with all steps of a sequence."""
    return tuple(Size(1, 1) if whole and axis == tensor.time_axis else Size(n) for axis, n in enumerate(tensor.shape))


def contiguous(shape: Sequence[Size]) -> tuple[Size, ...]:
    """The strides of a tensor of this shape."""
    strides = [ONE]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides[: len(shape)]))


def broadcast_view(operand: Operand, shape: Sequence[Size], *, whole: bool) -> View:
    """An operand that is broadcast to ``shape``, as ONNX does it."""
    own = extents(operand.tensor, whole=whole)
    strides = [Size(0) if size == ONE else stride for size, stride in zip(own, contiguous(own), strict=True)]
    return View(operand.name, (*[Size(0)] * (len(shape) - len(own)), *strides))


@contextmanager
def loops(site: Site, shape: Sequence[Size], views: Sequence[View]) -> Iterator[tuple[str, ...]]:
    """Loops over every index of ``shape``; yields the expression of each operand's index.

    Axes that all operands walk through as if they were one become one loop.
    """
    axes = _merged(shape, views)
    with _loops(site, axes) as variables:
        yield tuple(_index(view, axes, place, variables) for place, view in enumerate(views))


def copy_views(site: Site, shape: Sequence[Size], target: View, source: View) -> None:
    """Copies a source to a target, in runs where both lie together."""
    axes = _merged(shape, (target, source))
    views = (target, source)
    if axes and axes[-1].strides == (ONE, ONE):
        *outer, last = axes
        with _loops(site, outer) as variables:
            to, of = (_moved(view.name, _index(view, outer, place, variables)) for place, view in enumerate(views))
            site.line(f"memcpy({to}, {of}, {last.extent.text} * sizeof *{target.name});")
        return
    with _loops(site, axes) as variables:
        to, of = (f"{view.name}[{_index(view, axes, place, variables)}]" for place, view in enumerate(views))
        site.line(f"{to} = {of};")


def _merged(shape: Sequence[Size], views: Sequence[View]) -> list[Axis]:
    axes: list[Axis] = []
    for place, extent in enumerate(shape):
        if extent == ONE:
            continue
        axis = Axis(extent, tuple(view.strides[place] for view in views))
        before = axes[-1] if axes else None
        if before is not None and all(a == b * extent for a, b in zip(before.strides, axis.strides, strict=True)):
            axes[-1] = Axis(before.extent * extent, axis.strides)
        else:
            axes.append(axis)
    return axes


@contextmanager
def _loops(site: Site, axes: Sequence[Axis], depth: int = 0) -> Iterator[list[str]]:
    if depth == len(axes):
        yield []
        return
    with site.loop(_VARIABLES[depth], axes[depth].extent.count) as variable, _loops(site, axes, depth + 1) as inner:
        yield [variable, *inner]


def _index(view: View, axes: Sequence[Axis], place: int, variables: Sequence[str]) -> str:
    """The sum of all that moves an operand; terms that are taken off come last, so that it looks as it is meant."""
    terms: list[tuple[int, str]] = []
    number = 0
    for size in view.start:
        if size.power:
            terms.append((size.number, Size(abs(size.number), size.power).text))
        else:
            number += size.number
    for axis, variable in zip(axes, variables, strict=True):
        stride = axis.strides[place]
        if stride.number:
            factor = Size(abs(stride.number), stride.power)
            terms.append((stride.number, variable if factor == ONE else f"{variable} * {factor.text}"))
    if number:
        terms.append((number, str(abs(number))))
    if not terms:
        return "0"
    terms.sort(key=lambda term: term[0] < 0)
    words = "".join(f" {'-' if sign < 0 else '+'} {text}" for sign, text in terms)
    return words.removeprefix(" + ").lstrip()


def _moved(name: str, index: str) -> str:
    return name if index == "0" else f"{name} + {index}"


def refuse(site: Site, what: str) -> UnsupportedModelError:
    """An error that names the node."""
    return UnsupportedModelError(
        f"node {site.layer.name} ({site.layer.operator}): {what} has no form in C. Export without the format c."
    )
