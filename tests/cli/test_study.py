"""``qdeploy study``, and the state's range from ``export`` to ``inspect``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qdeploy.studies import STUDIES


@pytest.fixture(scope="module")
def labelled(recurrent, tmp_path_factory):
    """The samples of ``recurrent`` with a label for every step."""
    x = np.load(recurrent.data)["x"]
    path = tmp_path_factory.mktemp("study") / "data.npz"
    np.savez(path, x=x, y=np.random.default_rng(0).integers(0, 3, x.shape[:2]))
    return path


@pytest.mark.needs("matplotlib")
def test_state_bits(qdeploy_command, recurrent, labelled, tmp_path):
    given = ("study", "state-bits", recurrent.model, "--data", labelled, "--time-axis", 0, "--bits", "6, 12")
    done = qdeploy_command(*given, "--state-range", "minmax,mse", "-o", tmp_path / "out")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[5:9]] == [
        ["6", "minmax"],
        ["6", "mse"],
        ["12", "minmax"],
        ["12", "mse"],
    ]
    assert "\n0 of " in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"state_bits.json", "state_bits.png"}
    machine = json.loads(qdeploy_command(*given, "--state-range", "minmax", "--json").out)
    assert [row["bits"] for row in machine["rows"]] == [6, 12]


def test_a_picture_that_cannot_be_drawn_is_said_before_the_work(qdeploy_command, monkeypatch, tmp_path):
    monkeypatch.setattr("qdeploy.studies.drawing.find_spec", lambda name: None)
    done = qdeploy_command("study", "state-bits", "no such network", "-o", tmp_path / "out")
    assert done.code == 4
    assert "matplotlib" in done.err
    assert not (tmp_path / "out").exists()


def test_ptq(qdeploy_command, recurrent, labelled):
    done = qdeploy_command(
        "study", "ptq", recurrent.model, "--data", labelled, "--time-axis", 0, "--bits", "4", "--limit", 8
    )
    assert done.code == 0
    assert "8 test samples" in done.out
    assert "4  after training, q_k" in done.out


@pytest.mark.needs("matplotlib")
def test_cells(qdeploy_command, tmp_path):
    done = qdeploy_command("study", "cells", "qornn-digits", "--limit", "10", "-o", tmp_path / "out")
    assert done.code == 0
    assert "QORNN, relu, 170 units, on sequential-digits: 10 answers" in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cells.json", "cells.png"}


def test_quaternion(qdeploy_command, tmp_path):
    done = qdeploy_command("study", "quaternion", "digits", "--limit", "20", "-o", tmp_path / "out")
    assert done.code == 0
    assert "20 answers on digits; default is 33.0% of expanded" in done.out
    table = json.loads((tmp_path / "out" / "quaternion.json").read_text())
    assert table["rows"][0]["name"] == "quaternion-lenet300-digits"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ptq", "m", "--state-range", "mse"), "No such option '--state-range'"),
        (("state-bits", "m", "--trained", "n"), "No such option '--trained'"),
        (("state-bits", "m", "--bits", "a,b"), "expected numbers with commas between"),
        (("weight-bits", "qornn-digits"), "Missing option '-o'"),
        (("weight-bits", "qornn-digits", "-o", "f", "--data", "d"), "No such option '--data'"),
        (
            ("colours", "m"),
            "no study 'colours'; there are state-bits, weight-bits, cells, sizes, quaternion, pruning, kinds",
        ),
        (("cells", "all", "--bits", "4"), "No such option '--bits'"),
        (("sizes", "digits"), "Missing option '-o'"),
        (("kinds", "conv2-mnist"), "Missing option '-o'"),
        (("kinds", "conv3-mnist", "-o", "f"), "no network in the three kinds"),
        (("quaternion", "all", "--recipe", "w4a8"), "No such option '--recipe'"),
        (("pruning", "lenet300-digits", "--seeds", "one", "-o", "f"), "expected numbers with commas between"),
    ],
)
def test_usage(qdeploy_command, arguments, message):
    done = qdeploy_command("study", *arguments)
    assert done.code == 2
    assert message in done.err


def test_help_names_every_study(qdeploy_command):
    whole = qdeploy_command("study", "--help")
    assert whole.code == 0
    for name in STUDIES:
        assert f"\n  {name} " in whole.out
        own = qdeploy_command("study", name, "--help")
        assert own.code == 0
        assert f"qdeploy study {name} " in own.out.splitlines()[0]
        assert f"\n  qdeploy study {name} " in own.out


def test_a_missing_rule_is_named(qdeploy_command, recurrent, labelled):
    done = qdeploy_command("study", "state-bits", recurrent.model, "--data", labelled, "--state-range", "median")
    assert done.code == 2
    assert "expected some of minmax, percentile, mse, power-of-two" in done.err


@pytest.mark.parametrize(
    ("rule", "shown"),
    [("minmax", "minmax"), ("percentile", "percentile 99.99"), ("mse", "mse"), ("power-of-two", "power-of-two")],
)
def test_export_and_inspect_tell_the_rule(qdeploy_command, recurrent, tmp_path, rule, shown):
    done = qdeploy_command(
        *("export", recurrent.model, "--calibration", recurrent.data, "--time-axis", 0, "-o", tmp_path / "out"),
        *("--state-range", rule, "--state-bits", 6),
    )
    assert done.code == 0
    told = qdeploy_command("inspect", tmp_path / "out").out
    (line,) = [line for line in told.splitlines() if "state range" in line]
    assert f"({shown})" in line
    assert line.endswith("% of calibration's states saturate")
    assert (" 0 % of" in line) == (rule != "mse")
    (line,) = [line for line in told.splitlines() if "singular values of W" in line]
    assert "float 0.9 to 0.9, integer 0.8" in line
    machine = json.loads(qdeploy_command("inspect", tmp_path / "out", "--json").out)
    extra = machine["layers"][0]["extra"]
    assert extra["state_range"] == rule
    assert extra["state_saturated_share"] >= 0
    assert extra["orthogonality_frobenius_integer"] > 0
