"""The histogram of magnitudes: what it says of values is what the values say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.histogram import BINS, MagnitudeHistogram


def histogram(*parts: np.ndarray) -> MagnitudeHistogram:
    found = MagnitudeHistogram()
    for part in parts:
        found.update(part.astype(np.float32))
    return found


def states(seed: int = 0, count: int = 200_000) -> np.ndarray:
    """Like a ReLU network's: a half of zeros, a wide hump, a thin tail."""
    generator = np.random.default_rng(seed)
    values = np.maximum(generator.standard_normal(count), 0)
    values[:20] *= 10
    return values.astype(np.float32)


def error(values: np.ndarray, step: float, levels: int) -> float:
    magnitudes = np.abs(values.astype(np.float64))
    return float(((np.minimum(np.rint(magnitudes / step), levels) * step - magnitudes) ** 2).mean())


@settings(max_examples=40, deadline=None)
@given(
    scales=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5),
    seed=st.integers(0, 2**31),
)
def test_the_order_of_batches_does_not_matter(scales: list[float], seed: int) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.standard_normal(50).astype(np.float32) * np.float32(scale) for scale in scales]
    one, other, at_once = histogram(*parts), histogram(*parts[::-1]), histogram(np.concatenate(parts))
    for found in (other, at_once):
        assert (found._counts == one._counts).all()
        assert (found.count, found.zeros, found.largest, found._span) == (one.count, one.zeros, one.largest, one._span)
    assert one._counts.sum() + one.zeros == one.count == 50 * len(parts)


def test_memory_is_bounded() -> None:
    found = histogram(*(states(seed, 10_000) for seed in range(20)))
    assert found._counts.nbytes == 8 * BINS
    assert found.count == 200_000


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0, 99.9, 99.99, 100.0])
def test_percentiles(percent: float) -> None:
    values = states()
    found = histogram(values)
    assert found.percentile(percent) == pytest.approx(np.percentile(values, percent), abs=2 * found._span / BINS)


def test_the_share_beyond_a_limit() -> None:
    values = states()
    found = histogram(values)
    for limit in (0.1, 1.0, 2.5, 6.0):
        assert found.share_beyond(limit) == pytest.approx((values > limit).mean(), abs=2e-4)
    assert found.share_beyond(float(values.max())) == 0.0
    assert found.share_beyond(float(values.max()) * 0.999) > 0


@pytest.mark.parametrize("bits", [4, 6, 8, 12, 16])
@pytest.mark.parametrize("top", [1.0, 3.0, 40.0])
def test_squared_errors_are_those_of_the_values(bits: int, top: float) -> None:
    values, levels = states(), 2**bits - 1
    expected = error(values, top / levels, levels)
    # Steps finer than a bin are judged by the density, those of a bin's size worst.
    assert histogram(values).squared_error(top / levels, levels) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("bits", [4, 6, 8, 12])
def test_the_range_of_least_error_is_as_good_as_any(bits: int) -> None:
    values, levels = states(), 2**bits - 1
    found = histogram(values)
    best = min(error(values, top / levels, levels) for top in np.linspace(0.05, float(values.max()), 400))
    chosen = found.least_squares_range(levels)
    assert error(values, chosen / levels, levels) <= 1.01 * best
    assert chosen <= found.largest
    if bits == 4:
        assert chosen < 0.25 * found.largest


def test_values_that_are_all_alike() -> None:
    assert histogram(np.zeros(10)).percentile(99.0) == 0
    assert histogram(np.zeros(10)).least_squares_range(255) == 0
    assert histogram(np.zeros(10)).squared_error(1.0, 255) == 0
    alike = histogram(np.full(10, 0.5))
    assert alike.largest == alike.percentile(100.0) == 0.5
    assert alike.squared_error(0.5, 1) == 0
    assert (alike.share_beyond(0.5), alike.share_beyond(0.4)) == (0, 1)
    assert alike.squared_error(0.4, 1) == pytest.approx(0.01)
