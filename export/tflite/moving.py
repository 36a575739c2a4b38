"""Standard operators that move data, for LiteRT: Concat, Expand, Gather, Slice, Split, Tile, Transpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.export.tflite.emitter import tflite_operator
from qdeploy.runtime.errors import UnsupportedModelError

if TYPE_CHECKING:
    from qdeploy.export.tflite.site import Site
    from qdeploy.export.tflite.writer import Value


@tflite_operator("Concat")
def concat(site: Site) -> None:
    """One behind the other."""
    parts = [site.input(name) for name in site.layer.inputs]
    site.set("y0", site.code.concatenate(parts, site.attributes["axis"] % len(parts[0].shape)))


@tflite_operator("Expand", "Tile")
def expand(site: Site) -> None:
    """Repeated; every output is a sum with zeros of its shape."""
    x, shape = site.input("x0"), site.shape("y0")
    if site.layer.operator == "Tile":
        repeats = site.constant("x1").tolist()
        for axis, count in enumerate(repeats):
            x = site.code.concatenate([x] * count, axis) if count > 1 else x
        site.set("y0", x)
        return
    aligned = site.code.reshape(x, (1,) * (len(shape) - len(x.shape)) + tuple(x.shape))
    for axis, (size, wanted) in enumerate(zip(aligned.shape, shape, strict=True)):
        if size == 1 and wanted is not None and wanted > 1:
            aligned = site.code.concatenate([aligned] * wanted, axis)
    site.set("y0", aligned)


@tflite_operator("Gather")
def gather(site: Site) -> None:
    """Entries along an axis; indices that count from its end do so in LiteRT's terms too."""
    code, x, indices = site.code, site.input("x0"), site.constant("x1").astype(np.int32)
    axis = site.attributes.get("axis", 0) % len(x.shape)
    size = x.shape[axis]
    if size is None:
        chosen = code.subgraph.constant(indices)
        if (indices < 0).any():
            end = code.size_of(x, axis)
            end = code.reshape(end, ()) if indices.ndim == 0 else end
            chosen = code.add(code.multiply(end, (indices < 0).astype(np.int32)), indices)
        site.set("y0", code.gather(x, chosen, axis=axis))
        return
    site.set("y0", code.gather(x, code.subgraph.constant(np.where(indices < 0, indices + size, indices)), axis=axis))


@tflite_operator("Slice")
def slice_(site: Site) -> None:
    """Parts of axes, any step, as look-ups along each axis that is cut."""
    code, x = site.code, site.input("x0")
    starts, ends = site.constant("x1").tolist(), site.constant("x2").tolist()
    axes = site.constant("x3").tolist() if site.has("x3") else list(range(len(starts)))
    steps = site.constant("x4").tolist() if site.has("x4") else [1] * len(starts)
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = given % len(x.shape)
        size = x.shape[axis]
        if size is None:
            x = _of_steps(site, axis, start, end, step)
            continue
        places = np.arange(size)[slice(start, end if -(2**31) < end < 2**31 - 1 or end >= 0 else None, step)]
        if places.size < size or step != 1:
            x = code.gather(x, code.subgraph.constant(places), axis=axis)
    site.set("y0", x)


@tflite_operator("Split")
def split(site: Site) -> None:
    """Parts along an axis."""
    code, x = site.code, site.input("x0")
    axis = site.attributes.get("axis", 0) % len(x.shape)
    place = 0
    for result in site.layer.outputs:
        count = site.tensor(result).shape[axis]
        begin, size = [0] * len(x.shape), [-1] * len(x.shape)
        begin[axis], size[axis] = place, count
        site.set(result, code.slice(x, begin, size))
        place += count


@tflite_operator("Transpose")
def transpose(site: Site) -> None:
    """Axes in another order."""
    site.set("y0", site.code.transpose(site.input("x0"), site.attributes["perm"]))


def _of_steps(site: Site, axis: int, start: int, end: int, step: int) -> Value:
    """A part of the steps, whose number is open: the last ones, or the sequence in reverse."""
    code, x = site.code, site.input("x0")
    if step == 1 and start == -1:
        last = code.add(code.size_of(x, axis), -1)
        return code.gather(x, last, axis=axis)
    if step == -1 and start == -1 and end < -(2**31):
        return code.reverse(x, axis)
    raise UnsupportedModelError(
        f"node {site.layer.name} (Slice): steps {start} to {end} by {step} of a sequence have no form for LiteRT; expected the "
        "last step, or all in reverse."
    )
