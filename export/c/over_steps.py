"""Loops over everything but one axis, for what is taken over all steps of a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qdeploy.export.c.walks import Size, View, contiguous, extents, loops

if TYPE_CHECKING:
    from qdeploy.export.c.site import Operand, Site

__all__ = ["over_steps"]


@contextmanager
def over_steps(site: Site, x: Operand, y: Operand) -> Iterator[tuple[str, str, str, Size]]:
    """Loops over the entries of y.

    Yields the expression of the first x that an entry is made of, how far the next one stands behind it, the expression of
    the entry, and how many x there are.
    """
    shape = extents(x.tensor, whole=site.whole)
    axis = site.attributes["axis"] % len(shape)
    rest = (*shape[:axis], *shape[axis + 1 :])
    strides = contiguous(shape)
    source = View(x.name, (*strides[:axis], *strides[axis + 1 :]))
    with loops(site, rest, (source, View(y.name, contiguous(rest)))) as (of, to):
        yield f"{x.name} + {of}" if of != "0" else x.name, strides[axis].text, f"{y.name}[{to}]", shape[axis]
