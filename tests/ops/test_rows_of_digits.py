"""Wide states as rows of seven bits: no processor's product of pairs in 16 bits can saturate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.export.onnx.functions import SEVEN_BITS_FROM, rows_of_digits

UNITS = SEVEN_BITS_FROM


def weights(units: int, low: int = -127) -> np.ndarray:
    """Random ones, and columns of nothing but the ends."""
    found = np.random.default_rng(0).integers(low, 128, (units, 8))
    found[:, 0], found[:, 1] = 127, low
    return found.astype(np.int8)


@pytest.mark.parametrize(
    ("units", "codes", "low", "expected"),
    [
        (UNITS, 2**12 - 1, -127, ("s8", 7)),
        (UNITS, 2**14 - 1, -127, ("s8", 7)),
        # The high row would pass 127.
        (UNITS, 2**14, -127, ("u8", 8)),
        # Some ARM kernels overflow on it.
        (UNITS, 2**12 - 1, -128, ("u8", 8)),
        (UNITS - 1, 2**12 - 1, -127, ("u8", 8)),
    ],
)
def test_when_rows_have_seven_bits(units: int, codes: int, low: int, expected: tuple[str, int]) -> None:
    assert rows_of_digits(weights(units, low), codes) == expected


def test_weights_that_saturate_nowhere_keep_rows_of_eight() -> None:
    assert rows_of_digits(weights(UNITS) // 2, 2**12 - 1) == ("s8", 8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), ends=st.booleans())
def test_pairs_summed_in_sixteen_bits_are_exact(seed: int, ends: bool) -> None:
    """As x86 without VNNI adds them: two products of a pair along K, clipped to int16."""
    codes = 2**14 - 1
    matrix = weights(UNITS).astype(np.int64)
    form, low_bits = rows_of_digits(matrix, codes)
    assert (form, low_bits) == ("s8", 7)
    generator = np.random.default_rng(seed)
    state = generator.choice([0, codes], UNITS) if ends else generator.integers(0, codes + 1, UNITS)
    total = np.zeros(matrix.shape[1], np.int64)
    for row, place in ((state >> low_bits, 1 << low_bits), (state & ((1 << low_bits) - 1), 1)):
        assert row.max() <= 127
        pairs = (row[:, None] * matrix).reshape(-1, 2, matrix.shape[1]).sum(axis=1)
        total += np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=0) * place
    assert (total == state @ matrix).all()
