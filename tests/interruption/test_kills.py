"""A few of the kills that ``make interrupt`` makes by the hundred."""

from __future__ import annotations

from .kills import FOUND, MOMENTS, kill_exports


def test_exports_killed_at_random_moments() -> None:
    result = kill_exports(8, seed=1)
    assert result.count() == 8
    assert result.count(force=True) == 4
    assert result.count(what=FOUND[3]) == 0
    assert result.count(moment=MOMENTS[1]) >= 1
    assert result.left_over >= result.count(moment=MOMENTS[1])
