"""The studies that put networks beside each other: the figures are those of a bundle, and trainings are made once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import qdeploy
from qdeploy.models.config import TrainingConfig, load_config
from qdeploy.quantize import load_recipe
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies import cells, sizes
from qdeploy.studies.cells import cell_name
from qdeploy.studies.judged import judge_float, judge_integer
from qdeploy.studies.subject import Subject

pytestmark = pytest.mark.needs("torch")


def test_a_judged_form_is_the_exported_bundle(tmp_path: Path) -> None:
    subject = Subject.load("qornn-digits", None, 100)
    found = judge_integer(subject, load_recipe("default"), "recommended")
    bundle = qdeploy.export_model("qornn-digits", tmp_path / "out")
    assert found.bytes == (bundle.path / "model.onnx").stat().st_size
    validated = bundle.validate("sequential-digits", limit=100)
    assert validated.integer_value == pytest.approx(found.accuracy, abs=1e-12)
    assert validated.float_value == pytest.approx(judge_float(subject).accuracy, abs=1e-12)
    assert validated.disagreements == found.disagreements
    assert (found.weight_bits, found.state_bits, found.differing) == (4, 12, 0)
    assert found.compared > 4 * 64 * 170


@pytest.mark.data("spoken-digits")
def test_tables_are_no_weights() -> None:
    """A table of tanh for 8-bit states is of bytes, as weights are."""
    subject = Subject.load("rnn-spoken", None, 4)
    found = [judge_integer(subject, load_recipe("default").changed(state_bits=bits), "") for bits in (8, 12)]
    assert [form.weight_bytes for form in found] == [64 * (32 + 64) + 10 * 64] * 2


@pytest.mark.needs("matplotlib")
def test_cells_judges_every_network_of_a_data_set(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    report = cells.run("sequential-digits", limit=20, progress=lambda *stage: stages.append(stage))
    shipped = {row.name: row for row in report.rows}
    assert {"ornn-digits", "qornn-digits"} <= set(shipped)
    assert all(row.data == "sequential-digits" and row.float_form.answers == 20 for row in report.rows)
    assert stages[0] == ("networks", 0, len(report.rows))
    assert stages[-1] == ("networks", len(report.rows), len(report.rows))
    float_trained = {form.setting: (form.weight_bits, form.state_bits) for form in shipped["ornn-digits"].forms}
    assert float_trained == {"8-bit state": (8, 8), "4-bit weights": (4, 12), "recommended": (8, 12)}
    # A grid keeps its bits.
    assert [form.weight_bits for form in shipped["qornn-digits"].forms] == [4, 4, 4]
    assert all(form.differing == 0 < form.compared for row in report.rows for form in row.forms)
    table, picture = cells.write(report, tmp_path)
    assert json.loads(table.read_text(encoding="utf-8")) == json.loads(json.dumps(report.to_dict()))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sum("recommended " in line for line in report.lines()) == len(report.rows)


def test_cells_leaves_out_what_has_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path))
    with pytest.raises(InvalidInputError, match="the data of sequential-mnist are not here"):
        cells.run("qornn-smnist")
    monkeypatch.setattr(cells, "_row", lambda entry, base, limit: judged_row(entry.name, entry.details["dataset"]))
    report = cells.run()
    assert "qornn-smnist" in report.missing
    assert "qornn-digits" in {row.name for row in report.rows}
    # Networks that read no sequence are none of this study's.
    assert not {"lenet300-digits", "lenet300-mnist"} & {*report.missing, *(row.name for row in report.rows)}
    assert "qornn-smnist" in report.lines()[-1]
    with pytest.raises(InvalidInputError, match="no shipped recurrent network; expected all, or one of"):
        cells.run("lenet300-digits")


def judged_row(name: str, data: str) -> cells.Row:
    return cells.Row(name, "gru", 4, data, cells.FloatForm(0.5, 10, 100, 80), ())


def test_cells_are_named() -> None:
    assert cell_name({"cell": "gru", "hidden_size": 3}) == "gru"
    assert cell_name({"activation": "relu", "weight_bits": 4}) == "QORNN, relu"
    assert cell_name({"activation": "relu", "weight_bits": 4, "orthogonal": "none"}) == "QORNN, relu, W rounded"
    assert cell_name({"activation": None, "weight_bits": 4, "orthogonal": "hadamard"}) == "HadamRNN, linear"
    assert cell_name({"activation": None, "weight_bits": None}) == "ORNN, linear"


@pytest.mark.needs("matplotlib")
def test_sizes_trains_once_and_judges_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("qdeploy.models.config.config_names", lambda: ["gru-digits"])
    given = {"hidden": (4, 8), "epochs": 1, "limit": 30}
    report = sizes.run("sequential-digits", tmp_path / "runs", **given)
    assert [(row.cell, row.hidden_size, row.trained_bits) for row in report.rows] == [
        ("gru", 4, None),
        ("gru", 8, None),
    ]
    forms = {row.name: [(form.weight_bits, form.setting) for form in row.forms] for row in report.rows}
    assert forms["gru-digits-h8"] == [(8, "8-bit weights"), (4, "4-bit weights")]
    assert all(form.differing == 0 < form.compared for row in report.rows for form in row.forms)
    gru = [row for row in report.rows if row.cell == "gru"]
    # W of three gates, U and V: 4 bytes a number, or one, or a half.
    weights = 3 * 8 * 8 + 3 * 8 + 10 * 8
    assert gru[1].float_form.weight_bytes == 4 * weights
    assert [form.weight_bytes for form in gru[1].forms] == [weights, weights // 2]
    assert all(form.bytes > form.weight_bytes for row in gru for form in row.forms)
    table, picture = sizes.write(report, tmp_path)
    assert json.loads(table.read_text(encoding="utf-8"))["rows"][0]["cell"] == "gru"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")}
    assert len(trained) == 2
    again = sizes.run("sequential-digits", tmp_path / "runs", **given)
    assert again.lines() == report.lines()
    assert trained == {path: path.stat().st_mtime_ns for path in trained}


def test_a_shipped_network_is_not_trained_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("qdeploy.models.config.config_names", lambda: ["ornn-digits", "qornn-digits"])

    def refuse(config: object, folder: Path) -> Path:
        raise AssertionError(f"trained {config} into {folder}")

    monkeypatch.setattr(sizes, "train_variant", refuse)
    report = sizes.run("sequential-digits", tmp_path, limit=10)
    assert [(row.name, row.cell, row.trained_bits) for row in report.rows] == [
        ("ornn-digits", "ORNN, relu", None),
        ("qornn-digits", "QORNN, relu", 4),
    ]
    assert [[(form.weight_bits, form.setting) for form in row.forms] for row in report.rows] == [
        [(8, "8-bit weights"), (4, "4-bit weights")],
        [(4, "4-bit weights")],
    ]
    with pytest.raises(AssertionError, match="trained"):
        sizes.run("sequential-digits", tmp_path, limit=10, epochs=load_config("qornn-digits").epochs + 1)


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        ("digits", {}, "no recurrent network is trained on it; expected one of"),
        ("sequential-digits", {"hidden": ()}, "hidden sizes"),
        ("sequential-digits", {"hidden": (0,)}, "hidden sizes"),
        ("sequential-digits", {"bits": (1,)}, "expected numbers of 2 to 8"),
    ],
)
def test_sizes_refuses(tmp_path: Path, data: str, given: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        sizes.run(data, tmp_path / "runs", **given)
    assert not (tmp_path / "runs").exists()


def test_disagreements_are_those_of_the_answers() -> None:
    subject = Subject.load("qornn-digits", None, 50)
    found = judge_integer(subject, load_recipe("default").changed(state_bits=4), "4-bit state")
    from qdeploy.quantize import quantize

    integers = quantize(subject.captured.model, subject.statistics, load_recipe("default").changed(state_bits=4))
    answers = subject.integer_logits(integers).argmax(axis=1)
    assert found.disagreements == int(np.sum(answers != subject.float_logits().argmax(axis=1))) > 0
    assert found.accuracy == np.mean(answers == subject.labels)


def test_a_rounded_float_twin_is_tried_at_every_k(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("qdeploy.models.config.config_names", lambda: ["qornn-digits", "qornn-digits-shaped"])
    asked: list[tuple[str, int]] = []

    def note(config: TrainingConfig, folder: Path) -> str:
        asked.append((config.name, config.hyperparameters["weight_bits"]))
        return "qornn-digits"

    monkeypatch.setattr(sizes, "train_variant", note)
    sizes.run("sequential-digits", tmp_path, bits=(3, 8), limit=4)
    assert asked == [("qornn-digits-shaped-k3", 3), ("qornn-digits-shaped-k8", 8)]
