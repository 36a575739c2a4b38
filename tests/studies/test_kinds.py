"""The study of quaternion networks beside their real twins, on made histories."""

from __future__ import annotations

import dataclasses
import json

import pytest

from qdeploy.models import load_config
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies import kinds

HISTORIES = {"quaternion": [0.3, 0.6, 0.5], "real4": [0.4, 0.65, 0.7], "real3": [0.35, 0.6, 0.66]}


@pytest.fixture
def report(tmp_path, monkeypatch):
    def trained(config, folder):
        kind = config.name.split("-")[0]
        place = folder / config.name
        place.mkdir()
        history = [{"epoch": n + 1, "test_accuracy": value} for n, value in enumerate(HISTORIES[kind])]
        (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
        (place / f"{config.name}.json").write_text(json.dumps({"metrics": {"best_epoch": 2}}))
        assert config.epochs == 3
        return place / f"{config.name}.safetensors"

    monkeypatch.setattr(kinds, "train_variant", trained)
    monkeypatch.setattr(kinds, "seconds_a_batch", lambda configs: dict.fromkeys(configs, 0.5))
    return kinds.run("conv6-mnist", tmp_path, epochs=3)


def test_table(report):
    assert [row.kind for row in report.rows] == ["quaternion", "real4", "real3"]
    assert {row.kind: list(row.test_accuracy) for row in report.rows} == HISTORIES
    quaternion, real4, real3 = report.rows
    assert quaternion.parameters < 0.27 * real4.parameters
    assert real3.parameters < real4.parameters
    assert all(row.images_per_second == 60 / 0.5 for row in report.rows)
    lines = report.lines()
    assert "60.00 %" in lines[1]
    assert "65.00 %" in lines[2]
    assert lines[2].endswith("1.00")


def test_files(report, tmp_path):
    table, picture = kinds.write(report, tmp_path / "study")
    assert table.name == "kinds-conv6-mnist.json"
    assert json.loads(table.read_text())["rows"][0]["test_accuracy"] == HISTORIES["quaternion"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_network_is_timed(monkeypatch):
    monkeypatch.setattr(kinds, "SPEED_ROUNDS", 1)
    config = load_config("quaternion-conv2-mnist")
    small = {"image_size": 8, "width": 8}
    configs = {
        kind: dataclasses.replace(
            config, batch_size=4, hyperparameters={**config.hyperparameters, **small, "kind": kind}
        )
        for kind in ("quaternion", "real")
    }
    found = kinds.seconds_a_batch(configs)
    assert list(found) == ["quaternion", "real"]
    assert all(0 < seconds < 600 for seconds in found.values())


def test_unknown_networks(tmp_path):
    with pytest.raises(
        InvalidInputError, match=r"'conv3-mnist': no network in the three kinds; expected one of conv2-"
    ):
        kinds.run("conv3-mnist", tmp_path)
