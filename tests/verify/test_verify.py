"""verify passes on right bundles, counts what it compares, and is repeatable."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.verify import verify
from qdeploy.verify.cases import EXTREMES, CaseMaker

ALL_VOICES = [
    "bodies",
    "onnxruntime, plain, 1 thread",
    "onnxruntime, plain, 2 threads",
    "onnxruntime, optimized, 1 thread",
    "onnxruntime, optimized, 2 threads",
    "onnxruntime, file as shipped",
]


@pytest.mark.parametrize("kind", ["last state", "wide state", "every step", "quaternion"])
def test_a_right_bundle_passes(bundles, kind):
    report = verify(bundles[kind], samples=20)
    assert report.passed, report.lines()
    assert report.difference is None
    report.raise_if_failed()
    names = [voice.name for voice in report.voices]
    assert [name for name in ALL_VOICES if name not in names] == []
    assert all(voice.compared_integers > 0 for voice in report.voices)
    assert report.compared_integers == sum(voice.compared_integers for voice in report.voices)
    assert report.left_out == ()
    if kind == "quaternion":
        assert report.cases == {"constants": 1, "golden": 1, "extreme": len(EXTREMES), "random": 1, "cut": 1}
    else:
        assert report.cases == {"golden": 1, "extreme": len(EXTREMES), "one-step": 1, "random": 1, "cut": 3}


@pytest.mark.parametrize("kind", ["inlined", "inlined quaternion", "float borders", "one at a time"])
def test_other_forms_pass_too(bundles, kind):
    """Without layer-sized operators the standard operators judge; golden vectors are still the reference's."""
    report = verify(bundles[kind], samples=6)
    assert report.passed, report.lines()
    assert report.judge == ("bodies" if "inlined" in kind else "numpy")
    assert report.cases["golden"] == 1
    assert report.cases["random"] == (6 if kind == "one at a time" else 1)
    cuts = {"inlined quaternion": 1, "one at a time": 2}
    assert report.cases["cut"] == cuts.get(kind, 3)


def test_float_borders_leave_the_tensors_between_layers_integer(bundles):
    maker = CaseMaker(bundles["float borders"].manifest, bundles["float borders"].model, steps=5, seed=0)
    feeds = maker.random("random/0", 50).feeds
    assert feeds["x"].dtype == feeds["rnn_state"].dtype == np.float32
    # Half steps of 12 bits.
    assert 0.5 * 4000 < feeds["rnn_state"].max() < 0.5 * 4096
    counts = {v.name: v.compared_integers for v in verify(bundles["float borders"], samples=4, case="random").voices}
    # y, its last step, the transposed and the quantized input, the quantized state, both outputs before and after.
    assert counts["onnxruntime, plain, 1 thread"] == 4 * (9 * 12 + 12 + 9 + 9 + 12 + 10 + 12 + 10)


def test_all_states_are_compared_where_the_graph_gives_the_last_one_only(bundles):
    """12 units, 9 steps, 20 samples: y alone has 2,160 integers."""
    report = verify(bundles["last state"], samples=20, case="random")
    counts = {voice.name: voice.compared_integers for voice in report.voices}
    # y, its last step, and the logits; the transposed input is one more tensor.
    assert counts["onnxruntime, optimized, 1 thread"] == 20 * (9 * 12 + 12 + 10 + 9)
    assert counts["onnxruntime, file as shipped"] == counts["bodies, file as shipped"] == 20 * (12 + 10)


def test_more_samples_compare_more_integers(bundles):
    few = verify(bundles["quaternion"], samples=10, case="random")
    many = verify(bundles["quaternion"], samples=1000, case="random")
    assert few.cases == {"random": 1}
    assert many.cases == {"random": 4}
    fast = {voice.name: voice.compared_integers for voice in many.voices}
    assert fast["onnxruntime, plain, 1 thread"] == 1000 * (12 + 12 + 10)


def test_the_report_is_plain_data_and_text(bundles):
    report = verify(bundles["every step"], samples=4)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["passed"] is True
    assert plain["mismatched_integers"] == 0
    assert plain["voices"][0]["difference"] is None
    assert report.lines()[-1].startswith("passed: every runtime gives the same bits")
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.seed = 1  # type: ignore[misc]


def test_real_samples_are_compared_and_their_saturation_is_counted(bundles):
    data = {"float_x": np.full((5, 7, 1), 1e6, np.float32), "y": np.arange(5)}
    report = verify(bundles["wide state"], samples=4, data=data)
    assert report.passed
    assert report.cases["data"] == 1
    # Three golden samples, and as many of the data as samples asks for.
    assert report.saturation_samples == 3 + 4
    only = verify(bundles["wide state"], samples=8, data=data["float_x"], case="data")
    assert only.cases == {"data": 1}
    assert only.saturation_samples == 5


def test_data_that_do_not_fit_are_refused(bundles):
    for data, found in [
        ({"other": np.zeros((2, 7, 1))}, "hold other, expected an array 'x'"),
        (np.zeros((2, 7)), r"float64\[2, 7\], expected numbers \[batch, time, 1\]"),
        (np.zeros((2, 7, 3)), r"\[2, 7, 3\]"),
    ]:
        with pytest.raises(InvalidInputError, match=found):
            verify(bundles["wide state"], data=data)


def test_progress_reaches_its_end(bundles):
    calls: list[tuple[str, int, int]] = []
    verify(bundles["quaternion"], samples=4, progress=lambda *call: calls.append(call))
    assert calls[-1][1] == calls[-1][2]
    assert [call[1] for call in calls] == sorted(call[1] for call in calls)


def test_runtimes_can_be_chosen(bundles):
    report = verify(bundles["quaternion"], runtimes=["bodies"], samples=4)
    assert {voice.name for voice in report.voices} == {"numpy, golden and in pieces", "bodies"}
    with pytest.raises(InvalidInputError, match="'tensorflow', expected some of numpy, bodies, onnxruntime"):
        verify(bundles["quaternion"], runtimes=["tensorflow"])
    with pytest.raises(InvalidInputError, match="one besides the judge"):
        verify(bundles["quaternion"], runtimes=["numpy"])


def test_a_missing_onnxruntime_is_left_out_with_its_reason(bundles, monkeypatch):
    monkeypatch.setattr("qdeploy.boards.machine.available", lambda: {"numpy": "2", "bodies": "2", "onnxruntime": None})
    report = verify(bundles["quaternion"], samples=4)
    assert report.passed
    assert report.left_out == ("onnxruntime is not installed",)
    assert "left out: onnxruntime is not installed" in report.lines()


def test_an_unknown_case_is_refused(bundles):
    with pytest.raises(InvalidInputError, match="no case 'nothing', expected one of constants, golden"):
        verify(bundles["quaternion"], case="nothing")


def test_cases_do_not_depend_on_each_other(bundles):
    """A case that is run alone is the same as in the whole run."""
    files = bundles["wide state"]
    makers = [CaseMaker(files.manifest, files.model, steps=5, seed=seed) for seed in (3, 3, 4)]
    makers[0].random("random/0", 4)
    first, again, other = (maker.random("random/7", 4).feeds for maker in makers)
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


@pytest.mark.parametrize("name", ["lstm-state8", "builtin-lstm"])
def test_cell_states_are_drawn_from_all_of_their_16_bits(name):
    files = read_bundle(Path(__file__).parents[1] / "golden" / "bundles" / f"{name}.zip")
    maker = CaseMaker(files.manifest, files.model, steps=5, seed=0)
    (cell,) = (state.input for state in files.manifest.states if state.bits == 16)
    low, high = (maker.extreme(kind, 2).feeds[cell] for kind in ("low", "high"))
    assert (low == -(2**15)).all()
    assert (high == 2**15 - 1).all()


def test_random_integers_stay_in_the_contracts_range(bundles):
    """12-bit states after ReLU are 0 … 4095, not the whole of int16; inputs use all of uint8."""
    maker = CaseMaker(bundles["wide state"].manifest, bundles["wide state"].model, steps=5, seed=0)
    cases = [maker.random(f"random/{i}", 50).feeds for i in range(8)] + [maker.extreme(k, 2).feeds for k in EXTREMES]
    states = np.concatenate([case["rnn_state"].ravel() for case in cases])
    inputs = np.concatenate([case["x"].ravel() for case in cases])
    assert (states.min(), states.max()) == (0, 4095)
    assert (inputs.min(), inputs.max()) == (0, 255)
    assert states.dtype == np.int16
