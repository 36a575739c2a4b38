"""Weights that lie on a trained grid come back exactly; others are never mistaken for such."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.quantize.grid import recognise_grid


def q_k(weight: np.ndarray, bits: int) -> np.ndarray:
    """The quantizer of the QORNN paper, in single precision as training computes it."""
    alpha = np.float32(np.abs(weight).max())
    levels = np.float32(2 ** (bits - 1))
    n = np.rint(weight * levels / alpha)
    n = np.clip(n, -1, 1) if bits == 1 else np.clip(n, -levels, levels - 1)
    return (alpha * n / levels).astype(np.float32)


@settings(max_examples=400, deadline=None)
@given(
    bits=st.integers(1, 8),
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-4, 1e4),
)
def test_trained_grids_come_back_to_the_last_bit(bits: int, rows: int, columns: int, seed: int, scale: float) -> None:
    weight = (np.random.default_rng(seed).standard_normal((rows, columns)) * scale).astype(np.float32)
    on_grid = q_k(weight, bits)
    if not on_grid.any():
        return
    found = recognise_grid(on_grid)
    assert found is not None
    assert found.bits <= max(bits, 2)
    assert (np.float32(found.step * found.integers.astype(np.float64)) == on_grid).all()


@settings(max_examples=100, deadline=None)
@given(size=st.integers(3, 400), seed=st.integers(0, 2**31))
def test_real_weights_lie_on_no_grid(size: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((1, size)).astype(np.float32)
    assert recognise_grid(weight) is None


@pytest.mark.parametrize("level", [-128, -1, 0, 127])
def test_one_weight_off_the_grid_is_enough_to_leave_it(level: int) -> None:
    weight = (np.random.default_rng(0).integers(-128, 128, (40, 40)) / 128).astype(np.float32)
    assert recognise_grid(weight) is not None
    weight[3, 4] = (level + 0.37) / 128
    assert recognise_grid(weight) is None


def test_zeros_lie_on_no_grid() -> None:
    assert recognise_grid(np.zeros((3, 3), np.float32)) is None
