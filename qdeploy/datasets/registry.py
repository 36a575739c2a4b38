"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

from .copy_task import make_copy_task
from .dataset import SPLITS, Dataset
from .digits import load_digits
from .mnist import load_mnist, permutation

__all__ = ["load", "names"]

_Arrays = tuple[NDArray[np.float32], NDArray[np.int64]]

# Short enough to train in minutes; the literature's length is 1,000.
COPY_LENGTH = 120
COPY_SAMPLES = {"train": 20_000, "test": 1_000}
COPY_SEEDS = {"train": 0, "test": 1}


def _steps(arrays: _Arrays) -> _Arrays:
    """One value a step: [N, T] becomes [N, T, 1]."""
    return arrays[0][:, :, np.newaxis], arrays[1]


def _permuted(arrays: _Arrays) -> _Arrays:
    return np.ascontiguousarray(arrays[0][:, permutation()]), arrays[1]


_SOURCES: dict[str, tuple[Callable[[str], _Arrays], int | None]] = {
    "mnist": (lambda split: load_mnist("mnist", split), None),
    "fashion-mnist": (lambda split: load_mnist("fashion_mnist", split), None),
    "sequential-mnist": (lambda split: _steps(load_mnist("mnist", split)), 0),
    "permuted-mnist": (lambda split: _steps(_permuted(load_mnist("mnist", split))), 0),
    "digits": (load_digits, None),
    "sequential-digits": (lambda split: _steps(load_digits(split)), 0),
    "copy": (lambda split: make_copy_task(COPY_SAMPLES[split], COPY_LENGTH, COPY_SEEDS[split]), 0),
}


def names() -> list[str]:
    """The names that ``load`` takes."""
    return sorted(_SOURCES)


def load(name: str, split: str = "test", limit: int | None = None) -> Dataset:
    """One split of a named set.

    Args:
        name: one of ``names()``.
        split: ``train`` or ``test``.
        limit: at most so many samples, the first ones; ``None`` for all.

    Raises:
        InvalidInputError: an unknown name or split, or a limit below 1.
        MissingDataError: files of the set are not on this machine.
        InvalidFileError: files of the set are damaged.
    """
    if name not in _SOURCES:
        raise InvalidInputError(f"data set {name!r} is not known; known are {', '.join(names())}")
    if split not in SPLITS:
        raise InvalidInputError(f"split {split!r} of data set {name}: expected one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise InvalidInputError(f"limit={limit}: expected at least 1, or None for all samples")
    source, time_axis = _SOURCES[name]
    x, y = source(split)
    return Dataset(name, split, x[:limit], y[:limit], time_axis)
