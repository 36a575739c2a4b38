"""Ratios as integers and shifts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.quantize.multiplier import choose_multiplier, raised_to_multipliers
from qdeploy.runtime.errors import UnsupportedModelError


@given(ratio=st.floats(1e-6, 1e3), bits=st.sampled_from([15, 31]))
def test_a_ratio_is_as_near_as_its_bits_allow(ratio: float, bits: int) -> None:
    found = choose_multiplier(ratio, bits, "node")
    value = int(found.values[0])
    assert 0 < value < 2**bits
    assert 0 <= found.shift <= 46
    assert found.error == pytest.approx(abs(value / 2**found.shift / ratio - 1), abs=1e-15)
    if found.shift < 46:
        assert found.error <= 2.0 ** -(bits - 1)


@given(ratios=st.lists(st.floats(1e-4, 1.0), min_size=2, max_size=9))
def test_channels_share_one_shift(ratios: list[float]) -> None:
    found = choose_multiplier(np.array(ratios), 15, "node")
    for value, ratio in zip(np.broadcast_to(found.values, len(ratios)), ratios, strict=True):
        assert abs(value / 2**found.shift - ratio) <= 2.0**-found.shift


@given(
    ratios=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=9),
    bits=st.sampled_from([8, 15]),
    scales=st.tuples(st.floats(1e-4, 10), st.floats(1e-4, 10)),
)
def test_raised_ratios_are_multipliers(ratios: list[float], bits: int, scales: tuple[float, float]) -> None:
    """Also when they are taken apart into scales and come back with their roundings."""
    given_, (x, y) = np.array(ratios), scales
    raised = raised_to_multipliers(given_, bits)
    assert (raised >= given_).all()
    assert (raised <= given_ + given_.max() * 2.0 ** (2 - bits)).all()
    assert raised.max() <= given_.max() * (1 + 2.0 ** (2 - bits))
    found = choose_multiplier(raised / x * y * x / y, bits, "node")
    assert found.values.max() < 2**bits
    assert found.error < 1e-12


def test_equal_channels_become_one() -> None:
    assert choose_multiplier(np.full(9, 0.3), 15, "node").values.shape == (1,)


def test_powers_of_two_are_exact_and_others_are_refused() -> None:
    found = choose_multiplier(np.array([0.25, 0.5, 0.03125]), 1, "node")
    assert (found.values / 2**found.shift == [0.25, 0.5, 0.03125]).all()
    with pytest.raises(UnsupportedModelError, match=r"node loop: .*no power of two"):
        choose_multiplier(0.3, 1, "loop")


@pytest.mark.parametrize("ratio", [0.0, -1.0, np.inf, np.nan, 1e9])
def test_impossible_ratios_name_the_node(ratio: float) -> None:
    with pytest.raises(UnsupportedModelError, match="node head"):
        choose_multiplier(ratio, 15, "head")
