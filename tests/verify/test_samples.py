"""Real samples for verify, in every form in which people have them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from qdeploy.runtime.errors import InvalidInputError
from qdeploy.runtime.manifest import InputSpec
from qdeploy.verify.samples import read_samples


def manifest(*shapes):
    """All that is read of a manifest: its inputs."""
    names = ["x", "second"]
    return SimpleNamespace(
        created_from={},
        inputs=tuple(
            InputSpec(name, f"float_{name}", "uint8", shape, 0.5, 3) for name, shape in zip(names, shapes, strict=False)
        ),
    )


@pytest.mark.parametrize("form", ["array", "mapping", "npy", "npz", "npz of x and y", "text"])
def test_forms(tmp_path, form):
    x = np.random.default_rng(0).random((5, 4))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", float_x=x)
    np.savez(tmp_path / "xy.npz", x=x, y=np.arange(5))
    data = {
        "array": x,
        "mapping": {"x": x.tolist()},
        "npy": tmp_path / "x.npy",
        "npz": tmp_path / "x.npz",
        "npz of x and y": tmp_path / "xy.npz",
        "text": str(tmp_path / "x.npy"),
    }[form]
    assert np.array_equal(read_samples(data, manifest(("batch", 4)), 3)["x"], x[:3])


def test_a_data_set_follows_the_models_layout():
    """The copy task has its samples first; a model may have its steps first."""
    first = read_samples("copy", manifest(("batch", "time", 10)), 6)["x"]
    assert first.shape[0] == 6
    steps = read_samples("copy", manifest(("time", "batch", 10)), 6)["x"]
    assert np.array_equal(steps, np.moveaxis(first, 0, 1))


def test_several_inputs_have_their_names_and_one_number_of_samples():
    spec = manifest(("batch", 2), ("time", "batch"))
    arrays = {"x": np.zeros((5, 2)), "second": np.zeros((7, 5))}
    assert read_samples(arrays, spec, 3)["second"].shape == (7, 3)
    with pytest.raises(InvalidInputError, match="an array 'second'"):
        read_samples({"x": np.zeros((5, 2))}, spec, 3)
    with pytest.raises(InvalidInputError, match="different numbers of samples: x 2, second 3"):
        read_samples(arrays | {"x": np.zeros((2, 2))}, spec, 3)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 4)), np.zeros((2, 5)), np.array([["a"] * 4]), np.zeros((2, 4), complex)]
)
def test_what_does_not_fit(array):
    with pytest.raises(InvalidInputError, match=r"input 'x': .*expected numbers \[batch, 4\], not empty"):
        read_samples(array, manifest(("batch", 4)), 3)
