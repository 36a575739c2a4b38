"""A row of the report: ours and something else, measured in one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

__all__ = ["Row", "absent", "compared", "percentages"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    ``goal`` is the largest ratio (or, without ``other``, the largest value) that is good enough; None where a row is there to
    be seen. Rows of networks have the file size of both sides in bytes and, where the test images are on this machine, the
    accuracy of both in percent, and say what images those are. ``ours`` is None where there is nothing to measure: ``absent``
    says why.
    """

    name: str
    ours: float | None
    other: float | None
    unit: str
    ratio: float | None
    against: str
    goal: float | None
    ours_bytes: int | None = None
    other_bytes: int | None = None
    ours_accuracy: float | None = None
    other_accuracy: float | None = None
    images: str | None = None
    absent: str | None = None


def compared(name: str, ours: float, other: float, against: str, goal: float | None, *, unit: str = "µs a step") -> Row:
    """A row with its ratio."""
    return Row(name, round(ours, 3), round(other, 3), unit, round(ours / other, 3), against, goal)


def absent(name: str, reason: str, against: str, *, unit: str = "µs a step") -> Row:
    """A row without figures."""
    return Row(name, None, None, unit, None, against, None, absent=reason)


def percentages(accuracy: Mapping[str, float]) -> dict[str, float]:
    """Accuracies of 0 to 1 in percent."""
    return {contender: round(100 * value, 2) for contender, value in accuracy.items()}
