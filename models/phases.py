"""Initial recurrent weights with chosen eigenvalues: which frequencies of a sequence a linear recurrence looks at.

The eigenvalues of an orthogonal matrix are ``exp(+-i theta)``, and a state that is driven by a sequence accumulates,
in each pair's plane, the sequence's Fourier coefficient of that frequency. A sequence that is an image read row by row
has its content at few of them: horizontal frequency m (cycles a row of ``period`` pixels) and vertical frequency n
(cycles an image of ``length`` pixels) lie together at ``2 pi (m / period + n / length)`` radians a step, sidebands of
the harmonics of the row. Phases spread evenly over the half circle, in contrast, see every sequence alike, which is
right for one without such an order (permuted pixels).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["Phases", "orthogonal_with_phases"]

_LARGEST = 1_000_000


@dataclass(frozen=True)
class Phases:
    """Angles ``theta`` in (0, pi) of the conjugate pairs of eigenvalues.

    Attributes:
        period: steps a row; with ``harmonics`` = 0 without effect.
        length: steps a sequence.
        harmonics: of the row, m = 0 .. harmonics - 1.
        sidebands: on both sides of each harmonic; above it alone for m = 0, whose own frequency, the sum of all pixels,
            is left out: it would fill the states' range and tells little.
        spacing: of neighbouring sidebands, in cycles a sequence. Content that fills a part p of the sequence resolves
            1 / p cycles: closer ones say the same, and are hard to keep apart after quantization.
        others_from: the remaining pairs are spread evenly from this angle, in radians, to pi. Where the chosen ones lie
            near 0, others near pi keep the trace of the matrix near 0, and so its largest entry, on which the step of a
            quantization grid depends, small.
    """

    period: int = 1
    length: int = 1
    harmonics: int = 0
    sidebands: int = 0
    spacing: float = 1.0
    others_from: float = 0.0

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Phases:
        """From a configuration's object.

        Raises:
            InvalidInputError: unknown keys, values of another type or out of bounds.
        """
        known = {item.name: item for item in fields(cls)}
        unknown = sorted(str(key) for key in set(values) - set(known))
        if unknown:
            raise InvalidInputError(f"phases: unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
        for key, value in values.items():
            real = key in ("spacing", "others_from")
            if isinstance(value, bool) or not isinstance(value, (int, float) if real else int):
                raise InvalidInputError(f"phases: {key}={value!r}, expected {'a number' if real else 'an integer'}")
            low, high = (0, math.pi) if key == "others_from" else (0, _LARGEST)
            if not low <= value <= high or (key in ("period", "length", "spacing") and value == 0):
                raise InvalidInputError(
                    f"phases: {key}={value!r}, expected a value in [{low}, {high}], periods above 0"
                )
        return cls(**values)

    def angles(self, pairs: int) -> Tensor:
        """``pairs`` angles [pairs], float64.

        Raises:
            InvalidInputError: more harmonics and sidebands than pairs, or angles outside (0, pi).
        """
        chosen: list[float] = []
        for harmonic in range(self.harmonics):
            for sideband in range(1 if harmonic == 0 else -self.sidebands, self.sidebands + 1):
                cycles = self.spacing * sideband
                chosen.append(2 * math.pi * (harmonic / self.period + cycles / self.length))
        rest = pairs - len(chosen)
        if rest < 0 or any(not 0 < angle < math.pi for angle in chosen):
            lowest, highest = min(chosen, default=0.0), max(chosen, default=0.0)
            raise InvalidInputError(
                f"phases: {len(chosen)} angles from {lowest:.3f} to {highest:.3f}, expected at most {pairs} "
                "(half of the units) between 0 and pi; take fewer harmonics or sidebands"
            )
        width = (math.pi - self.others_from) / max(rest, 1)
        chosen += [self.others_from + width * (index + 0.5) for index in range(rest)]
        return torch.tensor(chosen, dtype=torch.float64)


def orthogonal_with_phases(angles: Tensor) -> Tensor:
    """``Q blockdiag(rotations by angles) Q^T`` [2 P, 2 P] for ``angles`` [P], float32.

    ``Q`` is uniform on the orthogonal matrices, drawn from torch's global generator, so that every unit mixes all
    frequencies and no entry is large.
    """
    size = 2 * len(angles)
    basis = torch.empty(size, size)
    torch.nn.init.orthogonal_(basis)
    # The product of two rounded factors is orthogonal to float32's rounding only in float64.
    exact, _ = torch.linalg.qr(basis.double())
    cosine, sine = torch.cos(angles), torch.sin(angles)
    rotations = torch.zeros(size, size, dtype=torch.float64)
    even = torch.arange(0, size, 2)
    rotations[even, even] = rotations[even + 1, even + 1] = cosine
    rotations[even, even + 1], rotations[even + 1, even] = -sine, sine
    result: Tensor = exact @ rotations @ exact.t()
    return result.float()
