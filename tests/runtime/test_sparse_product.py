"""The product of one row with a matrix that is mostly zero is the dense one, and is taken where it is faster alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.runtime import exact_product
from qdeploy.runtime.exact_product import ExactProduct
from qdeploy.runtime.sparse_product import SparseProduct, sparse_product_is_faster


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    outputs=st.integers(1, 6),
    inputs=st.integers(1, 9),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_as_the_dense_product(seed: int, outputs: int, inputs: int, density: float) -> None:
    """Rows of zeros and matrices of them among these, and every extreme of both operands."""
    generator = np.random.default_rng(seed)
    weight = generator.choice([-128, -127, 1, 127], (outputs, inputs)).astype(np.int8)
    weight[generator.random(weight.shape) >= density] = 0
    row = generator.choice([-65535, -1, 0, 65535], (1, inputs)).astype(np.int32)
    expected = [[sum(int(w) * int(x) for w, x in zip(line, row[0], strict=True)) for line in weight]]
    bound = int(np.abs(weight.astype(np.int64)).sum(axis=1).max()) * 65535
    assert SparseProduct(weight, bound)(row).tolist() == expected


def test_sums_beyond_32_bits() -> None:
    weight = np.full((1, 300), 127, np.int8)
    row = np.full((1, 300), 65535, np.int32)
    assert SparseProduct(weight, 300 * 127 * 65535)(row).tolist() == [[300 * 127 * 65535]]


@pytest.mark.parametrize(
    ("rows", "size", "nonzero", "expected"),
    [(1, 2**20, 2**15, True), (1, 2**20, 2**15 + 1, False), (2, 2**20, 100, False), (1, 2**18, 100, False)],
)
def test_where_it_is_taken(rows: int, size: int, nonzero: int, expected: bool) -> None:
    assert sparse_product_is_faster(rows, size, nonzero) == expected


def test_one_row_of_a_pruned_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own way, with the same integers as several rows and as the dense product."""
    generator = np.random.default_rng(0)
    weight = generator.integers(-127, 128, (256, 2048)).astype(np.int8)
    weight[generator.random(weight.shape) >= 0.02] = 0
    x = generator.integers(-128, 128, (3, 2048)).astype(np.int32)
    expected = x.astype(np.int64) @ weight.T.astype(np.int64)
    product = ExactProduct(weight, -128, 127)
    assert (product(x) == expected).all()
    monkeypatch.setattr(exact_product, "exact_matmul", None)
    assert (product(x[:1]) == expected[:1]).all()
    assert (product(x[None, 1:2]) == expected[None, 1:2]).all()
