"""Rounding rules of kernels against the kernels' own way of writing them, number by number."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.runtime.rounding import RULES, requantize
from tests.ops.kernel_rules import DEFINITIONS, by_rule

WIDE = (-(2**40), 2**40)


def accumulators(multiplier: int, shift: int, generator: np.random.Generator) -> np.ndarray:
    """Random ones, ties and their neighbours where the multiplier has some, and extremes."""
    largest = min(2**31 - 1, (2**31 - 1) >> max(multiplier.bit_length() - shift, 0))
    ties = (2 * generator.integers(-300, 300, 40) + 1) * (1 << shift) // (2 * multiplier)
    near = ties[:, None] + np.array([-1, 0, 1])
    ends = [0, 1, -1, 2, -2, 2**24, 2**24 + 1, -(2**24) - 1, largest, -largest]
    drawn = np.concatenate([generator.integers(-largest, largest, 40), near.reshape(-1), ends])
    return np.clip(drawn, -largest, largest)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_rule_is_what_its_kernel_does(rule: str) -> None:
    generator = np.random.default_rng(0)
    for bits in (1, 2, 7, 8, 15, 16, 24):
        for shift in (0, 1, 2, 7, 15, 16, 23, 31, 38, 46):
            drawn = int(generator.integers(1 << (bits - 1), 1 << bits))
            multipliers = [drawn, 1 << (bits - 1)] if rule != "half_up" or shift else [drawn]
            for multiplier in multipliers:
                acc = accumulators(multiplier, shift, generator)
                found = requantize(acc, multiplier, shift, 3, *WIDE, rounding=rule)
                assert (found == by_rule(rule, acc, np.array(multiplier), shift, 3, *WIDE)).all(), (multiplier, shift)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_output_has_its_own_multiplier(rule: str) -> None:
    generator = np.random.default_rng(1)
    multiplier = np.array([1, 3, 255, 2**14, 2**15 - 1])
    acc = generator.integers(-(2**20), 2**20, (50, 5))
    found = requantize(acc, multiplier, 16, 0, -128, 127, rounding=rule)
    assert (found == by_rule(rule, acc, multiplier, 16, 0, -128, 127)).all()
    one = [requantize(acc[:, n], int(m), 16, 0, -128, 127, rounding=rule) for n, m in enumerate(multiplier)]
    assert (found == np.stack(one, axis=1)).all()


def test_ties_and_second_roundings_tell_the_rules_apart() -> None:
    def row(rule: str, *values: int, multiplier: int = 1, shift: int = 1) -> list[int]:
        return [int(y) for y in requantize(np.array(values), multiplier, shift, 0, *WIDE, rounding=rule)]

    assert row("half_up", -3, -1, 1, 3) == [-1, 0, 1, 2]
    assert row("half_even", -3, -1, 1, 3) == [-2, 0, 0, 2]
    assert row("half_away", -3, -1, 1, 3) == [-2, -1, 1, 2]
    # 5 / 8 of a half is rounded to a half first, and that up; -3 / 4 away from zero by one rule alone.
    assert row("double_half_up", 1, -6, multiplier=1, shift=2) == [1, -1]
    assert row("gemmlowp", 1, -6, multiplier=1, shift=2) == [1, -2]
    assert row("half_up", 1, -6, multiplier=1, shift=2) == [0, -1]


def test_single_precision_is_half_even_where_products_are_exact() -> None:
    acc = np.arange(-(2**12), 2**12)
    for multiplier in (1, 3, 1023, 4095 << 5):
        exact = requantize(acc, multiplier, 20, rounding="half_even")
        assert (requantize(acc, multiplier, 20, rounding="single_precision") == exact).all()
    # One product of 25 bits: single precision makes a tie of what lies just above one, and takes the even neighbour.
    assert requantize(np.array([2**24 + 1]), 1, 25, rounding="half_even") == 1
    assert requantize(np.array([2**24 + 1]), 1, 25, rounding="single_precision") == 0


def test_no_rule_is_without_a_definition() -> None:
    assert set(RULES) == set(DEFINITIONS)
