"""What every data set is once loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .vocabulary import Vocabulary

__all__ = ["SPLITS", "Dataset"]

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Dataset:
    """One split of a named set.

    Attributes:
        name: as ``load`` takes it.
        split: ``train`` or ``test``.
        x: float32 [N, ...], one sample a row, values that eight bits represent exactly; of a text int64 [N, T] where its
            characters were asked for as indices.
        y: int64 [N], or [N, T] where every step has a class.
        time_axis: which axis of one sample is time (0 is the first after N), or ``None``.
        vocabulary: of a text, whose characters are one-hot in ``x``, or indices as in ``y``; ``None`` for other sets.
    """

    name: str
    split: str
    x: NDArray[np.float32] | NDArray[np.int64]
    y: NDArray[np.int64]
    time_axis: int | None = None
    vocabulary: Vocabulary | None = None
