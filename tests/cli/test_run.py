"""`qdeploy run`: files in, values out, streams that go on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from .conftest import CLASSES, STEPS, dense_samples, recurrent_samples


def raw_run(qdeploy_command, bundle, array, folder, *options):
    np.save(folder / "x.npy", array)
    done = qdeploy_command("run", bundle, "--input", folder / "x.npy", "--raw", *options)
    assert done.code == 0, done.err
    return np.array(json.loads(done.out)["logits"])


def test_values_on_stdout(qdeploy_command, tmp_path, dense):
    np.save(tmp_path / "x.npy", dense_samples(4))
    done = qdeploy_command("run", dense.bundle, "--input", tmp_path / "x.npy")
    assert done.code == 0, done.err
    assert np.array(json.loads(done.out)["logits"]).shape == (4, CLASSES)


def test_raw_is_integer_and_scaled_is_not_far(qdeploy_command, tmp_path, dense):
    raw = raw_run(qdeploy_command, dense.bundle, dense_samples(4), tmp_path)
    assert raw.dtype.kind == "i"
    done = qdeploy_command("run", dense.bundle, "--input", tmp_path / "x.npy")
    scaled = np.array(json.loads(done.out)["logits"])
    assert np.array_equal(scaled.argsort(axis=1), raw.argsort(axis=1, stable=True)) or np.any(
        np.diff(np.sort(raw)) == 0
    )


@pytest.mark.parametrize("runtime", ["numpy", "bodies"])
def test_every_runtime_gives_the_same(qdeploy_command, tmp_path, dense, runtime):
    expected = raw_run(qdeploy_command, dense.bundle, dense_samples(4), tmp_path)
    assert np.array_equal(
        raw_run(qdeploy_command, dense.bundle, dense_samples(4), tmp_path, "--runtime", runtime), expected
    )


def test_inputs_by_name(qdeploy_command, tmp_path, dense):
    expected = raw_run(qdeploy_command, dense.bundle, dense_samples(4), tmp_path)
    np.savez(tmp_path / "named.npz", x=dense_samples(4))
    for text in (tmp_path / "named.npz", f"x={tmp_path / 'x.npy'}"):
        done = qdeploy_command("run", dense.bundle, "--input", text, "--raw")
        assert done.code == 0, done.err
        assert np.array_equal(json.loads(done.out)["logits"], expected)


def test_output_to_a_file(qdeploy_command, tmp_path, dense):
    expected = raw_run(qdeploy_command, dense.bundle, dense_samples(4), tmp_path)
    target = tmp_path / "y.npz"
    done = qdeploy_command("run", dense.bundle, "--input", tmp_path / "x.npy", "--raw", "--output", target)
    assert (done.code, done.out) == (0, "")
    with np.load(target) as found:
        assert np.array_equal(found["logits"], expected)
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy", "y.npz"}


@pytest.mark.parametrize("cut", [1, 5, STEPS - 1])
def test_stream_goes_on_with_the_same_bits(qdeploy_command, tmp_path, recurrent, cut):
    sequence = np.ascontiguousarray(recurrent_samples(2).swapaxes(0, 1))  # the model's own layout
    whole = raw_run(qdeploy_command, recurrent.bundle, sequence, tmp_path)
    state = tmp_path / "state.npz"
    first = raw_run(qdeploy_command, recurrent.bundle, sequence[:cut], tmp_path, "--save-state", state)
    rest = raw_run(qdeploy_command, recurrent.bundle, sequence[cut:], tmp_path, "--state", state)
    assert np.array_equal(np.concatenate([first, rest]), whole)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (dense_samples(4)[:, :5], "shape"),
        (dense_samples(4) * np.nan, "NaN"),
        (np.full((1, 8), 300), "300"),
        (np.array([["a"] * 8]), "type"),
        (dense_samples(0), "shape"),
    ],
    ids=["width", "NaN", "range", "text", "empty"],
)
def test_input_that_cannot_be(qdeploy_command, tmp_path, dense, array, words):
    np.save(tmp_path / "x.npy", array)
    done = qdeploy_command("run", dense.bundle, "--input", tmp_path / "x.npy")
    assert done.code == 2, done
    assert words in done.err


def test_pickled_input_runs_nothing(qdeploy_command, tmp_path, dense):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    done = qdeploy_command("run", dense.bundle, "--input", tmp_path / "x.npy")
    assert done.code == 2
    assert "pickled" in done.err


def test_state_of_another_model(qdeploy_command, tmp_path, recurrent):
    np.save(tmp_path / "x.npy", np.ascontiguousarray(recurrent_samples(1).swapaxes(0, 1)))
    np.savez(tmp_path / "state.npz", h=np.zeros((1, 8), np.int16))
    done = qdeploy_command("run", recurrent.bundle, "--input", tmp_path / "x.npy", "--state", tmp_path / "state.npz")
    assert done.code == 2
    assert "state" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--input", "x.npy", "--output", "y.csv"], "must end in .npz"),
        (["--input", "absent.npy"], "absent.npy"),
        (["--input", "x.npy", "--input", "x=x.npy"], "names"),
        (["--input", "z=x.npy"], "'z'"),
        ([], "--input"),
        (["--input", "x.npy", "--output", "nowhere/y.npz"], "nowhere"),
    ],
    ids=["ending", "absent", "names", "unknown", "none", "folder"],
)
def test_usage(qdeploy_command, tmp_path, monkeypatch, dense, options, words):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", dense_samples(1))
    done = qdeploy_command("run", dense.bundle, *options)
    assert done.code == 2, done
    assert words in done.err
