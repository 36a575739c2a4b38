"""Counting and placing differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Axes", "Mismatch", "count_mismatches", "find_axes", "first_mismatch"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Axes:
    """Where a tensor's batch and time lie, None where it has no such axis of its own."""

    batch: int | None = None
    time: int | None = None


@dataclass(frozen=True)
class Mismatch:
    """One differing element, or, in ``problem``, why no element could be compared."""

    sample: int | None
    step: int | None
    index: tuple[int, ...]
    expected: int | float | None
    found: int | float | None
    problem: str | None = None


def find_axes(
    base: Mapping[str, Array], wider: Mapping[str, Array], longer: Mapping[str, Array] | None
) -> dict[str, Axes]:
    """Finds each tensor's axes from the shapes of three runs that differ in batch alone and in steps alone."""

    def changed(name: str, other: Mapping[str, Array] | None) -> int | None:
        if other is None or name not in other or other[name].ndim != base[name].ndim:
            return None
        places = [i for i, (a, b) in enumerate(zip(base[name].shape, other[name].shape, strict=True)) if a != b]
        return places[0] if len(places) == 1 else None

    axes: dict[str, Axes] = {}
    for name in base:
        batch, time = changed(name, wider), changed(name, longer)
        # One axis that holds both (a flattened [T*B, H]) is neither.
        axes[name] = Axes() if batch is not None and batch == time else Axes(batch, time)
    return axes


def count_mismatches(expected: Array, found: Array) -> int:
    """How many elements differ; all of them where type or shape do."""
    if expected.dtype != found.dtype or expected.shape != found.shape:
        return max(expected.size, 1)
    return int(np.count_nonzero(expected != found))


def first_mismatch(expected: Array, found: Array, axes: Axes) -> Mismatch:
    """The first differing element: the earliest step, then the first sample, then the first index."""
    if expected.dtype != found.dtype or expected.shape != found.shape:
        problem = f"found {found.dtype}{list(found.shape)}, the reference gives {expected.dtype}{list(expected.shape)}"
        return Mismatch(None, None, (), None, None, problem)
    places = np.argwhere(expected != found)
    order = [axis for axis in (axes.time, axes.batch) if axis is not None]
    order += [axis for axis in range(expected.ndim) if axis not in order]
    if places.shape[1]:
        # lexsort's last key is the most significant.
        places = places[np.lexsort(tuple(places[:, axis] for axis in reversed(order)))]
    index = tuple(int(i) for i in places[0])
    return Mismatch(
        sample=None if axes.batch is None else index[axes.batch],
        step=None if axes.time is None else index[axes.time],
        index=index,
        expected=expected[index].item(),
        found=found[index].item(),
    )
