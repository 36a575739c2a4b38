"""The captured model computes what its source computes, at other numbers of samples and steps too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import CheckFailedError

__all__ = ["RELATIVE_TOLERANCE", "compare", "relative_tolerance"]

Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]

# Of the range of an output: float32 sums in another order differ by 1e-6 of it in layers of 1,000 inputs; a wrong
# transposition or a lost bias differs by more than 1e-2.
RELATIVE_TOLERANCE = 1e-3

# Steps after which rounding in a loop is allowed to have grown: an orthogonal recurrence keeps every rounding error and
# adds one a step, so its error grows linearly with the number of steps.
_STEPS_OF_TOLERANCE = 100


def relative_tolerance(steps: int | None) -> float:
    """The part of an output's range by which a run of ``steps`` steps may differ."""
    return RELATIVE_TOLERANCE * max(1.0, (steps or 1) / _STEPS_OF_TOLERANCE)


def compare(
    source: Run,
    captured: Run,
    cases: list[tuple[dict[str, NDArray[Any]], int | None]],
    *,
    softmax: Mapping[str, tuple[str, int]],
    double: Run | None = None,
) -> float:
    """Runs both on every case (feeds, number of steps) and compares every output.

    Outputs whose softmax was dropped get it back for the comparison. A recurrence that expands or is chaotic amplifies
    rounding by more than any fixed tolerance: where ``double`` (the source in float64) is given, ten times the distance
    of the float32 source from it is allowed too.

    Returns:
        The greatest absolute difference.

    Raises:
        CheckFailedError: a difference beyond the tolerance, another shape, or values that are not finite.
    """
    worst = 0.0
    for feeds, steps in cases:
        expected, found = source(feeds), captured(feeds)
        exact: dict[str, NDArray[Any]] | None = None
        for name, reference in expected.items():
            result = found[name]
            if name in softmax:
                result = _apply(result, *softmax[name])
            shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in feeds.items())
            if result.shape != reference.shape:
                raise CheckFailedError(
                    f"output {name} for inputs {shapes}: the captured model gives shape {list(result.shape)}, expected "
                    f"{list(reference.shape)} as the source gives; avoid sizes of the samples as constants in forward"
                )
            if not np.isfinite(reference).all():
                raise CheckFailedError(
                    f"output {name} for inputs {shapes}: the source model itself gives NaN or infinite values; check "
                    "its "
                    "weights and the scale of the samples"
                )
            error = float(np.max(np.abs(result - reference), initial=0.0))
            allowed = relative_tolerance(steps) * max(float(np.ptp(reference)), float(np.max(np.abs(reference))), 1e-6)
            if not error <= allowed and double is not None:
                exact = double(feeds) if exact is None else exact
                allowed = max(allowed, 10.0 * float(np.max(np.abs(exact[name] - reference), initial=0.0)))
            if not error <= allowed:
                raise CheckFailedError(
                    f"output {name} for inputs {shapes}: the captured model differs from the source by {error:.3g}, "
                    "expected "
                    f"at most {allowed:.3g}; forward may depend on values, on the batch or on the number of steps"
                )
            worst = max(worst, error)
    return worst


def _apply(logits: NDArray[Any], kind: str, axis: int) -> NDArray[Any]:
    shifted = logits - logits.max(axis=axis, keepdims=True)
    total = np.exp(shifted).sum(axis=axis, keepdims=True)
    result: NDArray[Any] = shifted - np.log(total)
    return result if kind == "LogSoftmax" else np.exp(result)
