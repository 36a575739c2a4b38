"""A histogram of magnitudes in bounded memory, and what a quantizer asks of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 14

_CHUNK = 1 << 20
_SEARCHED_OCTAVES = 12
_PER_OCTAVE = 8


class MagnitudeHistogram:
    """Magnitudes of all values seen, in 2^14 bins of one width; zeros are counted apart, for they cost nothing.

    The bins span [0, span) with span a power of two. Where a larger value comes, bins are joined in pairs and the span
    doubles, so that the counts are what one pass with the final span would have given.

    Attributes:
        count: of all values.
        zeros: of those that are exactly 0.
        largest: the largest magnitude.
    """

    def __init__(self) -> None:
        self.count = 0
        self.zeros = 0
        self.largest = 0.0
        self._span = 0.0
        self._counts: NDArray[np.int64] = np.zeros(BINS, np.int64)

    def update(self, values: NDArray[np.float32]) -> None:
        """Takes in finite values of any shape; the temporaries are a few megabytes whatever the shape."""
        flat = values.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            self._add(np.abs(flat[start : start + _CHUNK]))

    def _add(self, magnitudes: NDArray[np.float32]) -> None:
        largest = float(magnitudes.max(initial=0.0))
        self.largest = max(self.largest, largest)
        self.count += magnitudes.size
        if largest == 0.0:
            self.zeros += magnitudes.size
            return
        if not self._span:
            self._span = 2.0 ** (math.floor(math.log2(largest)) + 1)
        while largest >= self._span:
            self._counts[: BINS // 2] = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts[BINS // 2 :] = 0
            self._span *= 2
        present = magnitudes[magnitudes > 0]
        self.zeros += magnitudes.size - present.size
        # A power of two: no rounding, each value falls into the bin that holds it.
        places = (present.astype(np.float64) * (BINS / self._span)).astype(np.int64)
        self._counts += np.bincount(places, minlength=BINS)

    def percentile(self, percent: float) -> float:
        """The magnitude that ``percent`` per cent of all values, zeros included, do not exceed."""
        wanted = self.count * percent / 100.0 - self.zeros
        if wanted <= 0:
            return 0.0
        if percent >= 100.0:
            return self.largest
        low, high, counts = self._filled()
        behind = np.cumsum(counts)
        place = int(np.searchsorted(behind, wanted))
        if place == len(counts):
            return self.largest
        part = 1.0 - (behind[place] - wanted) / counts[place]
        return float(low[place] + part * (high[place] - low[place]))

    def share_beyond(self, limit: float) -> float:
        """Which part of all values, 0 to 1, has a magnitude above ``limit``."""
        if limit >= self.largest:
            return 0.0
        low, high, counts = self._filled()
        width = high - low
        beyond = np.clip(high - limit, 0.0, width)
        # A bin that holds one value only, the largest, has no width; that value lies beyond the limit.
        part = np.divide(beyond, width, out=np.ones_like(width), where=width > 0)
        return float((counts * part).sum() / self.count)

    def squared_error(self, step: float, levels: int) -> float:
        """The mean squared error of rounding to multiples of ``step`` up to ``levels`` of them, saturation included.

        Within a bin the values count as spread evenly: the integral of (x - step n(x))^2, n = min(round(x/step), levels),
        is n step^3 / 12 + (x - step n)^3 / 3, so that steps finer than the bins are judged rightly too.
        """
        if self.count == self.zeros:
            return 0.0
        low, high, counts = self._filled()

        def integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
            n = np.minimum(np.rint(x / step), levels)
            result: NDArray[np.float64] = n * (step**3 / 12) + (x - n * step) ** 3 / 3
            return result

        width = high - low
        spread = width > 1e-9 * high
        mean = (high - np.minimum(np.rint(high / step), levels) * step) ** 2
        mean[spread] = ((integral(high) - integral(low))[spread] / width[spread]).clip(min=0.0)
        return float((counts * mean).sum() / self.count)

    def least_squares_range(self, levels: int) -> float:
        """The range A whose ``levels`` steps of A/levels give the least mean squared error, saturation included.

        Searched among largest * 2^(-i/8) over twelve octaves, then twice among 17 ranges between the neighbours of the
        best: the error has one minimum over a wide stretch (rounding grows with A, saturation shrinks), its small
        ripples are those of n(x) and do not matter.
        """
        if self.largest == 0.0:
            return 0.0
        spacing = 1.0 / _PER_OCTAVE
        octaves = np.arange(_SEARCHED_OCTAVES * _PER_OCTAVE + 1, dtype=np.float64) * spacing
        candidates: NDArray[np.float64] = np.asarray(self.largest * 2.0**-octaves, np.float64)
        best = self._best(candidates, levels)
        for _ in range(2):
            around: NDArray[np.float64] = np.minimum(best * 2.0 ** np.linspace(-spacing, spacing, 17), self.largest)
            best = self._best(around, levels)
            spacing /= 8
        return best

    def _best(self, ranges: NDArray[np.float64], levels: int) -> float:
        errors = [self.squared_error(float(found) / levels, levels) for found in ranges]
        return float(ranges[int(np.argmin(errors))])

    def _filled(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Bounds and counts of the bins that hold something; no bin reaches beyond the largest value."""
        places = np.flatnonzero(self._counts)
        width = self._span / BINS
        low = np.asarray(places * width, np.float64)
        high = np.asarray(np.minimum(low + width, self.largest), np.float64)
        return low, high, self._counts[places]
