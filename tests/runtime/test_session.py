"""Streaming: kept state, quantized inputs, clear refusals."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError
from qdeploy.runtime.session import Session


@pytest.fixture(params=["bodies", "onnxruntime"])
def runtime(request):
    return request.param


@pytest.fixture
def files(write_bundle):
    return read_bundle(write_bundle())


def test_dequantized_and_raw(files, runtime):
    """h' = (h + x) / 2 in steps of 0.5 with zero point 10, from a zero state."""
    x = np.array([[[2.0, 4.0]]], np.float32)  # 14 and 18
    raw = Session(files, runtime=runtime, raw=True).run(x)["y"]
    assert raw.dtype == np.uint8
    assert raw.tolist() == [[[12, 14]]]
    real = Session(files, runtime=runtime).run({"pixels": x})["y"]
    assert real.dtype == np.float32
    assert real.tolist() == [[[1.0, 2.0]]]


def test_any_split_gives_the_same_bits(files, runtime):
    x = np.random.default_rng(0).integers(0, 256, (3, 20, 2), np.uint8)
    whole = Session(files, runtime=runtime, raw=True)
    expected = whole.run({"x": x})["y"]
    for cuts in ([1] * 20, [7, 1, 12], [20]):
        session = Session(files, runtime=runtime, raw=True)
        ends = np.cumsum(cuts)
        pieces = [session.run({"x": x[:, e - c : e]})["y"] for c, e in zip(cuts, ends, strict=True)]
        assert (np.concatenate(pieces, 1) == expected).all()
        assert (session.state["mean_state"] == whole.state["mean_state"]).all()
    session = Session(files, runtime=runtime, raw=True)
    assert all((session.step(x[:, t])["y"] == expected[:, t]).all() for t in range(20))


def test_reset_and_state(files, runtime):
    session = Session(files, runtime=runtime, raw=True)
    assert session.state["mean_state"].tolist() == [[10, 10]]
    x = np.full((2, 3, 2), 200, np.uint8)
    first = session.run(x)["y"]
    middle = session.state
    second = session.run(x)["y"]
    assert (first != second).any()
    session.state = middle
    assert (session.run(x)["y"] == second).all()
    session.reset()
    assert (session.run(x)["y"] == first).all()
    middle["mean_state"][:] = 0
    assert session.state["mean_state"].max() > 0
    # After reset another batch is welcome.
    session.reset()
    assert session.run(x[:1])["y"].shape == (1, 3, 2)


def test_state_files(files, tmp_path):
    session = Session(files, runtime="bodies", raw=True)
    x = np.full((2, 3, 2), 200, np.uint8)
    session.run(x)
    session.save_state(tmp_path / "state.npz")
    expected = session.run(x)["y"]
    other = Session(files, runtime="onnxruntime", raw=True)
    other.load_state(tmp_path / "state.npz")
    assert (other.run(x)["y"] == expected).all()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["state.npz"]
    np.savez(tmp_path / "other.npz", model=np.array("00"), **{"state/mean_state": np.zeros((1, 2), np.uint8)})
    with pytest.raises(InvalidFileError, match="the state of another model"):
        other.load_state(tmp_path / "other.npz")
    np.savez(
        tmp_path / "odd.npz", model=np.array(session._identity), **{"state/mean_state": np.zeros((1, 3), np.uint8)}
    )
    with pytest.raises(InvalidFileError, match=r"odd.npz: state 'mean_state': found shape \[1, 3\]"):
        other.load_state(tmp_path / "odd.npz")
    with pytest.raises(InvalidFileError, match="cannot be read"):
        other.load_state(tmp_path / "none.npz")
    with pytest.raises(InvalidFileError, match="cannot be written"):
        session.save_state(tmp_path / "no folder" / "state.npz")


def test_inputs_are_quantized_as_onnx_does(files):
    """Ties to even, saturated at both ends; integers of any width are taken as they are."""
    session = Session(files, runtime="bodies", raw=True)
    x = np.array([[[0.25, 0.75], [-1e9, np.inf]]])
    quantized = session._feeds({"x": x})[0]["x"]
    assert quantized.tolist() == [[[10, 12], [0, 255]]]
    assert session._feeds({"x": np.array([[[1, 255]]])})[0]["x"].tolist() == [[[1, 255]]]


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (np.zeros((2, 3)), r"input 'x': found shape \[2, 3\], expected \[batch, time, 2\]"),
        (np.zeros((2, 3, 3)), r"input 'x': found shape \[2, 3, 3\]"),
        (np.zeros((2, 0, 2)), r"found shape \[2, 0, 2\]"),
        (np.full((1, 1, 2), np.nan), "input 'x': .*NaN"),
        (np.array([[[0, 256]]]), r"found integers 0 … 256, expected 0 … 255 \(uint8\); real values go in as floats"),
        (np.array([[["a", "b"]]]), "input 'x': found type <U1, expected floats, or integers of type uint8"),
        (np.zeros((1, 1, 2), bool), "found type bool"),
        (np.zeros((1, 1, 2), complex), "found type complex128"),
        ({"z": np.zeros((1, 1, 2))}, "found an input 'z', the model's inputs are x"),
        ({}, "input 'x' is missing"),
    ],
)
def test_inputs_that_do_not_fit(files, inputs, found):
    with pytest.raises(InvalidInputError, match=found):
        Session(files, runtime="bodies").run(inputs)


def test_another_batch_needs_a_reset(files):
    session = Session(files, runtime="bodies")
    session.run(np.zeros((2, 1, 2)))
    with pytest.raises(InvalidInputError, match=r"a batch of 3, expected 2 .*call reset\(\)"):
        session.run(np.zeros((3, 1, 2)))


def test_one_step_has_no_time_axis(files):
    with pytest.raises(InvalidInputError, match=r"found shape \[2, 1, 2\], expected \[batch, 2\] for one step"):
        Session(files, runtime="bodies").step(np.zeros((2, 1, 2)))


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({}, "state 'mean_state' is missing"),
        ({"mean_state": np.zeros((1, 2))}, "state 'mean_state': found type float64, expected uint8"),
        ({"mean_state": np.zeros((1, 3), np.uint8)}, r"found shape \[1, 3\], expected \[batch, 2\]"),
        ({"mean_state": np.zeros((1, 2), np.uint8), "z": np.zeros(1)}, "found a state 'z'"),
    ],
)
def test_states_that_do_not_fit(files, state, found):
    session = Session(files, runtime="bodies")
    with pytest.raises(InvalidInputError, match=found):
        session.state = state


def test_a_failed_call_leaves_the_state(files):
    session = Session(files, runtime="bodies", raw=True)
    session.run(np.full((2, 3, 2), 200, np.uint8))
    before = session.state
    with pytest.raises(InvalidInputError):
        session.run(np.zeros((5, 1, 2)))
    assert (session.state["mean_state"] == before["mean_state"]).all()
