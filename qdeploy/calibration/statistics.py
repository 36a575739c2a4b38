"""What was seen of one tensor, and of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qdeploy.histogram import MagnitudeHistogram


@dataclass
class TensorStatistics:
    """What was seen of one tensor.

    Attributes:
        low, high: the smallest and the largest value.
        values: a sample of the values, float32 ``[n]``.
        sizes: the shape of the latest batch's tensor.
        grid_bits: the smallest b >= 0 such that every value times 2^b is an integer, or None.
        step_largest: of recurrent states, the largest absolute value of each step, ``[T]``.
        magnitudes: of recurrent states, a histogram over all values of all steps.
    """

    low: float = np.inf
    high: float = -np.inf
    values: list[NDArray[np.float32]] = field(default_factory=list)
    sizes: tuple[int, ...] = ()
    grid_bits: int | None = 0
    step_largest: NDArray[np.float64] | None = None
    magnitudes: MagnitudeHistogram = field(default_factory=MagnitudeHistogram)

    def update(self, array: NDArray[np.float32], stride: int) -> None:
        """Takes in one batch."""
        self.low = min(self.low, float(array.min()))
        self.high = max(self.high, float(array.max()))
        self.sizes = array.shape
        self.values.append(np.ascontiguousarray(array.reshape(-1)[::stride]))

    def update_grid(self, array: NDArray[np.float32]) -> None:
        """Keeps the coarsest power-of-two grid that holds all values seen, up to 2^-15."""
        while self.grid_bits is not None:
            scaled = array * np.float32(2.0**self.grid_bits)
            if (scaled == np.rint(scaled)).all():
                return
            self.grid_bits = self.grid_bits + 1 if self.grid_bits < 15 else None

    def update_steps(self, states: NDArray[np.float32]) -> None:
        """Takes in states ``[T, B, H]``."""
        self.magnitudes.update(states)
        largest = np.abs(states).max(axis=(1, 2)).astype(np.float64)
        if self.step_largest is None:
            self.step_largest = largest
        else:
            length = max(len(largest), len(self.step_largest))
            padded = [np.pad(part, (0, length - len(part))) for part in (largest, self.step_largest)]
            self.step_largest = np.maximum(*padded)

    def update_initial(self, state: NDArray[np.float32]) -> None:
        """Takes in the state before the first step ``[B, H]``: the integers that hold the states must hold it too."""
        self.low, self.high = min(self.low, float(state.min())), max(self.high, float(state.max()))
        self.magnitudes.update(state)

    def bounds(self, method: str, percentile: float) -> tuple[float, float]:
        """The range to represent: (low, high) by ``minmax`` or by ``percentile`` of the values."""
        if method == "minmax":
            return self.low, self.high
        sample = np.concatenate(self.values)
        tail = (100.0 - percentile) / 2 if self.low < 0 else 100.0 - percentile
        return float(np.percentile(sample, tail)) if self.low < 0 else self.low, float(
            np.percentile(sample, 100.0 - tail)
        )


@dataclass(frozen=True)
class Calibration:
    """Statistics of every tensor by name, and how many samples and steps they come from."""

    tensors: Mapping[str, TensorStatistics]
    samples: int
    steps: int

    def __getitem__(self, name: str) -> TensorStatistics:
        return self.tensors[name]
