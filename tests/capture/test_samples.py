"""Sample inputs are checked, and moved to the model's layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.capture import InputSpec
from qdeploy.capture.samples import check_samples, check_time_axis, model_axes, some_samples, step_count
from qdeploy.runtime.errors import InvalidInputError


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "found none"),
        ({"x": np.zeros((2, 3), bool)}, "'x': found dtype bool, expected float32, or int64 for indices"),
        ({"x": np.zeros((2, 3), np.complex64)}, "found dtype complex64"),
        ({"x": np.array(3)}, r"found shape \[\]"),
        ({"x": np.zeros(3)}, r"found shape \[3\]"),
        ({"x": np.zeros((0, 3))}, r"found shape \[0, 3\]"),
        ({"x": np.zeros((2, 3)), "y": np.zeros((4, 3))}, "'y': found 4 samples, expected 2"),
        ({"x": np.array([[np.nan]])}, "NaN or infinite"),
        ({"x": np.array([[np.inf]])}, "NaN or infinite"),
    ],
)
def test_refused(inputs, words):
    with pytest.raises(InvalidInputError, match=words):
        check_samples(inputs)


def test_float64_becomes_float32():
    assert check_samples({"x": np.zeros((2, 3))})["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("given", "kept"), [("int32", "int32"), ("int64", "int64"), ("uint8", "int64"), ("int16", "int64")]
)
def test_integers_are_indices(given, kept):
    for shape in ((4,), (4, 3)):
        assert check_samples({"x": np.ones(shape, given)})["x"].dtype == kept


@pytest.mark.parametrize("time_axis", [2, -1, "time"])
def test_time_axis(time_axis):
    with pytest.raises(InvalidInputError, match="expected 1 for"):
        check_time_axis(time_axis)


def test_only_sequences_have_a_time_axis():
    assert model_axes({"x": np.zeros((5, 3))}, "x", 0) == (0, None)
    assert model_axes({"x": np.zeros((5, 7, 3))}, "x", 0) == (1, 0)
    assert model_axes({"x": np.zeros((5, 7, 3))}, "x", 1) == (0, 1)
    assert model_axes({"x": np.zeros((5, 7, 3))}, "x", None) == (0, None)


def test_indices_are_sequences_without_features():
    tokens, floats, several = np.zeros((5, 7), np.int64), np.zeros((5, 7, 3)), np.zeros((5, 2), np.int64)
    assert step_count({"tokens": tokens}) == 7
    assert step_count({"x": np.zeros((5, 7))}) is None
    both = {"tokens": tokens, "x": floats, "several": several, "one": several[:, 0]}
    assert [model_axes(both, name, 0) for name in both] == [(1, 0), (1, 0), (0, None), (0, None)]
    assert model_axes(both, "tokens", 1) == (0, 1)
    assert model_axes(both, "tokens", None) == (0, None)


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    time_axis=st.sampled_from([0, 1]),
    count=st.integers(1, 6),
    steps=st.integers(1, 6),
)
def test_some_samples_are_samples_in_the_models_layout(shape, time_axis, count, steps):
    samples = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    some = some_samples({"x": samples}, count=count, time_axis=time_axis, steps=steps)["x"]
    assert some.shape == ((count, steps, shape[2]) if time_axis == 1 else (steps, count, shape[2]))
    for sample in range(count):
        for step in range(steps):
            place = (sample, step) if time_axis == 1 else (step, sample)
            assert np.array_equal(some[place], samples[sample % shape[0], step % shape[1]])


def test_a_spec_arranges_samples():
    spec = InputSpec("x", "float32", ("time", "batch", 1), 1, 0)
    samples = np.arange(6.0).reshape(2, 3, 1)
    arranged = spec.arrange(samples)
    assert arranged.shape == (3, 2, 1)
    assert arranged.dtype == np.float32
    assert np.array_equal(arranged[:, 1], samples[1])
