from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy import datasets
from qdeploy.datasets.copy_task import make_copy_task
from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError


@pytest.mark.needs("sklearn")
def test_digits():
    train, test = datasets.load("digits", "train"), datasets.load("digits", "test")
    assert train.x.shape == (1437, 64)
    assert test.x.shape == (360, 64)
    assert train.x.dtype == np.float32
    # Exact in eight bits: sixteenths up to one.
    assert np.array_equal(train.x * 16, np.rint(train.x * 16))
    assert (train.x.min(), train.x.max()) == (0.0, 1.0)
    assert set(test.y.tolist()) == set(range(10))


@pytest.mark.needs("sklearn")
def test_digits_one_pixel_a_step():
    data = datasets.load("sequential-digits", "test")
    assert data.x.shape == (360, 64, 1)
    assert data.time_axis == 0
    assert np.array_equal(data.x[:, :, 0], datasets.load("digits", "test").x)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingRequirementError, match=r"pip install 'qdeploy\[torch\]'"):
        datasets.load("digits", "test")


def test_importing_data_sets_costs_nothing():
    code = "import sys, qdeploy.datasets; assert not {'torch', 'sklearn', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.integers(1, 4), st.integers(20, 40), st.integers(0, 100))
def test_copy_task_as_defined(samples, length, seed):
    x, y = make_copy_task(samples, length, seed)
    assert x.shape == (samples, length, 10)
    assert y.shape == (samples, length)
    assert np.array_equal(x.sum(axis=2), np.ones((samples, length)))
    tokens = x.argmax(axis=2)
    symbols = tokens[:, :10]
    assert symbols.min() >= 1
    assert symbols.max() <= 8
    marker = np.zeros(length, dtype=bool)
    marker[length - 10] = True
    assert np.array_equal(tokens[:, 10:] == 9, np.broadcast_to(marker[10:], (samples, length - 10)))
    assert not tokens[:, 10 : length - 10].any()
    assert not tokens[:, length - 9 :].any()
    assert not y[:, : length - 10].any()
    assert np.array_equal(y[:, length - 10 :], symbols)


def test_copy_is_made_by_its_seed():
    first, again = datasets.load("copy", "test", limit=20), datasets.load("copy", "test", limit=20)
    assert np.array_equal(first.x, again.x)
    assert not np.array_equal(first.y, datasets.load("copy", "train", limit=20).y)
    assert first.time_axis == 0
    assert first.x.shape == (20, 120, 10)


def test_copy_too_short():
    with pytest.raises(InvalidInputError, match="at least 20 steps"):
        make_copy_task(1, 19, 0)
