"""Weights over an algebra are found by their numbers, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.capture.block_algebra import BlockAlgebra, learned_blocks, repeated_blocks
from qdeploy.capture.functions import GROUPINGS


def whole(found: BlockAlgebra) -> np.ndarray:
    """The weight that the float function makes."""
    count, p, u = found.a.shape
    q, v, *kernel = found.s.shape[1:]
    sums = np.einsum("ipu,iqvk->puqvk", found.a, found.s.reshape(count, q, v, -1))
    rows = (0, 2) if found.output_grouping == "blocked" else (2, 0)
    columns = (1, 3) if found.grouping == "blocked" else (3, 1)
    return sums.transpose(*rows, *columns, 4).reshape(p * q, u * v, *kernel)


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from([2, 3, 4, 8]),
    kernel=st.sampled_from([(), (3,), (2, 2)]),
    orders=st.tuples(st.sampled_from(GROUPINGS), st.sampled_from(GROUPINGS)),
    sparse=st.booleans(),
    seed=st.integers(0, 999),
)
def test_signs_and_blocks_come_back(size, kernel, orders, sparse, seed):
    generator = np.random.default_rng(seed)
    chosen = generator.permuted(np.tile(np.arange(size), (size, 1)), axis=1)
    signs = generator.choice([-1, 1, 0] if sparse else [-1, 1], (size, size))
    a = (np.arange(size)[:, None, None] == chosen) * signs.astype(np.float32)
    s = generator.normal(size=(size, 8, 10, *kernel)).astype(np.float32)
    weight = whole(BlockAlgebra(a.astype(np.float32), s, *orders))
    found = repeated_blocks(weight)
    if not weight.any():
        assert found is None
        return
    assert found is not None
    assert np.array_equal(whole(found), weight)
    assert found.numbers <= a.size + s.size
    # The next number of float32 at one place: there is no such form any more, or one with a block more.
    other = weight.copy()
    place = tuple(axis[0] for axis in np.nonzero(other))
    other[place] = np.nextafter(other[place], np.float32(9))
    again = repeated_blocks(other)
    assert again is None or np.array_equal(whole(again), other)


def test_a_matrix_without_repetitions_has_no_blocks(rng):
    assert repeated_blocks(rng.normal(size=(48, 32)).astype(np.float32)) is None
    assert repeated_blocks(np.zeros((48, 32), np.float32)) is None


def test_few_numbers_are_not_worth_a_node():
    assert repeated_blocks(np.eye(4, dtype=np.float32)) is None
    assert repeated_blocks(np.ones((6, 6), np.float32)) is None


def test_the_best_of_several_forms_is_found(rng):
    # Of complex numbers of quaternions: two blocks of 12 x 8, of eight different ones in all.
    r, i, j, k = rng.normal(size=(4, 3, 2)).astype(np.float32)
    quaternion = np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]])
    found = repeated_blocks(np.block([[quaternion, quaternion], [quaternion, -quaternion]]))
    assert found is not None
    assert found.s.size <= 96
    assert found.numbers < 8 * 24


@pytest.mark.parametrize("kernel", [(), (3, 3)])
@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("orders", [("blocked", "blocked"), ("adjacent", "blocked"), ("adjacent", "adjacent")])
def test_a_learned_algebra_is_found_by_its_rank(rng, orders, size, kernel):
    a, s = (rng.normal(size=shape).astype(np.float32) for shape in ([size] * 3, (size, 12, 14, *kernel)))
    weight = whole(BlockAlgebra(a, s, *orders))
    found = learned_blocks(weight)
    assert found is not None
    assert found.a.shape == a.shape
    assert (found.grouping, found.output_grouping) == orders
    assert np.abs(whole(found) - weight).max() <= 2.0**-19 * np.abs(weight).max()
    changed = weight.copy()
    changed[0, 0] += 1e-3
    again = learned_blocks(changed)
    assert again is None or len(again.a) > size


def test_the_smallest_of_learned_algebras_is_found(rng):
    # Complex numbers, which have rank 2 in two parts, and no less in more.
    signs = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]]], np.float32)
    inner = whole(BlockAlgebra(signs, rng.normal(size=(2, 10, 12)).astype(np.float32), "blocked", "blocked"))
    found = learned_blocks(inner)
    assert found is not None
    assert found.s.size == inner.size // 2


def test_a_matrix_of_full_rank_is_over_no_algebra(rng):
    assert learned_blocks(rng.normal(size=(48, 64)).astype(np.float32)) is None
    # Of low rank as a matrix, which is another structure.
    assert learned_blocks((rng.normal(size=(48, 20)) @ rng.normal(size=(20, 64))).astype(np.float32)) is None
    assert learned_blocks(rng.normal(size=(8, 8)).astype(np.float32)) is None
