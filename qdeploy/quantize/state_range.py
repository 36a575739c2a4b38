"""The range of a recurrent state: what its largest integer means, chosen from calibration over all time steps.

``minmax``: the largest magnitude seen. ``percentile``: what all but a few values stay within. ``mse``: the range of the
least mean squared quantization error, saturation included. ``power-of-two``: the power of two nearest to the largest
magnitude on a logarithmic scale, which may lie below it; values beyond a range saturate.

Where the input weight lies on a trained grid, the state's scale is a power of two times s_U s_x / s_W (see the lowering of
RNN), so that the choice is one among octaves: ``minmax`` and ``percentile`` take the smallest that covers their range,
``mse`` that of the least error, ``power-of-two`` the nearest, which is A of Foucault et al. (arXiv 2402.04012).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdeploy.calibration import TensorStatistics
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.tensor_type import TensorType, state_type

_LEAST_EXPONENTS = 12
"""``mse`` looks at ranges down to 2^-12 of the largest magnitude."""


@dataclass(frozen=True)
class StateRange:
    """The rule of a recipe, applied to one layer's states.

    Attributes:
        seen: the statistics of the states, all steps.
        recipe: gives the rule, the percentile and the bits.
        signed: whether states may be negative.
        bound: what no state exceeds in magnitude (1 for tanh); infinite where nothing bounds them.
    """

    seen: TensorStatistics
    recipe: Recipe
    signed: bool
    bound: float = math.inf

    @property
    def largest(self) -> float:
        """The largest magnitude that calibration saw; 1 where it saw zeros only."""
        return max(-self.seen.low, self.seen.high) or 1.0

    def free(self) -> TensorType:
        """The state's type where any scale will do."""
        rule = self.recipe.state_range
        if rule == "minmax":
            # What bounds the states by itself needs no samples to say so.
            return self._over(self.largest if math.isinf(self.bound) else self.bound)
        if rule == "percentile":
            wanted = self.seen.magnitudes.percentile(self.recipe.percentile)
        elif rule == "mse":
            wanted = self.seen.magnitudes.least_squares_range(_levels(self._over(1.0)))
        else:
            return self._power_of_two()
        return self._over(min(wanted or self.largest, self.bound))

    def octave(self, unit: float) -> int:
        """The n of the state's scale where that must be ``unit`` times 2^n."""
        rule, free = self.recipe.state_range, self.free()
        covering = math.ceil(math.log2(free.scale / unit) - 1e-9)
        if rule == "power-of-two":
            return _nearest(self.largest / ((_levels(free) + 1) * unit))
        if rule != "mse":
            return covering
        top = math.ceil(math.log2(self.largest / (_levels(free) * unit)) - 1e-9)
        errors = [
            self.seen.magnitudes.squared_error(unit * 2.0 ** (top - below), _levels(free))
            for below in range(_LEAST_EXPONENTS)
        ]
        return top - int(np.argmin(errors))

    def report(self, chosen: TensorType) -> dict[str, Any]:
        """What a layer's record says of its state's range."""
        top = chosen.scale * _levels(chosen)
        return {
            "state_range": self.recipe.state_range,
            "state_percentile": self.recipe.percentile if self.recipe.state_range == "percentile" else None,
            "state_largest_float": self.largest,
            "state_largest_integer_means": top,
            # Half a step beyond the largest integer still rounds to it.
            "state_saturated_share": self.seen.magnitudes.share_beyond(top + chosen.scale / 2),
        }

    def _over(self, largest: float) -> TensorType:
        return state_type(largest, self.recipe.state_bits, signed=self.signed)

    def _power_of_two(self) -> TensorType:
        """A a power of two, and the scale A / 2^p (A / 2^(p-1) where a bit is the sign): a fixed-point format."""
        wanted = self._over(1.0)
        range_exponent = min(_nearest(self.largest), _nearest(self.bound) if math.isfinite(self.bound) else 1 << 10)
        scale = 2.0**range_exponent / (_levels(wanted) + 1)
        return TensorType(wanted.dtype, scale, wanted.zero_point, wanted.bits, wanted.low, wanted.high)


def _levels(state: TensorType) -> int:
    """How many steps the range has above zero."""
    return state.high - state.zero_point


def _nearest(value: float) -> int:
    """The n of the power of two that is nearest to ``value`` on a logarithmic scale."""
    return math.floor(math.log2(value) + 0.5)
