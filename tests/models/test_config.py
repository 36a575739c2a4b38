from __future__ import annotations

import json

import pytest

from qdeploy import datasets
from qdeploy.models.config import config_names, load_config, parse_config
from qdeploy.models.registry import check_hyperparameters
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

GOOD = {
    "name": "mine",
    "dataset": "digits",
    "architecture": "lenet-300-100",
    "hyperparameters": {"in_features": 64},
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.001,
}


@pytest.mark.parametrize("name", config_names())
def test_shipped_configurations_name_what_exists(name):
    config = load_config(name)
    assert config.name == name
    assert config.description
    assert config.dataset in datasets.names()
    check_hyperparameters(config.architecture, config.hyperparameters)


def test_shipped_names():
    assert {"qornn-smnist", "qornn-digits", "ornn-digits", "quaternion-lenet300-mnist"} <= set(config_names())


def test_float_twin_differs_in_its_bits_alone():
    quantized, twin = load_config("qornn-digits").as_dict(), load_config("ornn-digits").as_dict()
    assert quantized["hyperparameters"].pop("weight_bits") == 4
    assert twin["hyperparameters"].pop("weight_bits") is None
    for values in (quantized, twin):
        del values["name"], values["description"]
    assert quantized == twin


def test_path_and_default_name(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps({key: value for key, value in GOOD.items() if key != "name"}))
    assert load_config(path).name == "small"


def test_as_dict_is_read_back_the_same():
    config = parse_config({**GOOD, "quantization_ramp": [1, 2.5], "clip_norm": 1})
    assert parse_config(json.loads(json.dumps(config.as_dict()))) == config


@pytest.mark.parametrize("name", ["nothing", "../models/config", ""])
def test_unknown_name_lists_the_shipped(name):
    with pytest.raises(InvalidInputError, match="qornn-smnist"):
        load_config(name)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_not_json(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match="not a JSON file"):
        load_config(path)


def test_too_large(tmp_path):
    path = tmp_path / "large.json"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(InvalidFileError, match="at most 1 MiB"):
        load_config(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 1}, "unknown keys momentum"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": True}, "epochs=True"),
        ({"epochs": 2.0}, "epochs=2.0"),
        ({"learning_rate": "fast"}, "learning_rate='fast'"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"learning_rate": -1.0}, r"learning_rate=-1.0, expected a number in \[0.0, 10.0\]"),
        ({"learning_rate": None}, "learning_rate=None"),
        ({"clip_norm": False}, "clip_norm=False"),
        ({"schedule": "step"}, "schedule='step', expected one of constant, cosine"),
        ({"hyperparameters": []}, "expected an object"),
        ({"name": "a/b"}, "expected a plain file name"),
        ({"name": ".."}, "expected a plain file name"),
        ({"name": ""}, "expected a plain file name"),
        ({"name": "a\0b"}, "expected a plain file name"),
        ({"name": "\ud800"}, "expected a plain file name"),
        ({"name": "n" * 101}, "expected a plain file name of at most 100 bytes"),
        ({"learning_rate": 10**400}, "learning_rate=1000"),
        ({"quantization_ramp": [0, 10**400]}, "quantization_ramp"),
        ({"dataset": 3}, "dataset=3, expected a string"),
        ({"quantization_ramp": [2, 1]}, "quantization_ramp"),
        ({"quantization_ramp": [1]}, "quantization_ramp"),
        ({"quantization_ramp": [0, True]}, "quantization_ramp"),
        ({"quantization_ramp": "all"}, "quantization_ramp"),
        ({"initial_random": 1}, "initial_random=1, expected true or false"),
        ({"projunn_rank": 0}, "projunn_rank"),
        ({"schema_version": 2}, "schema_version=2"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(InvalidFileError, match=message):
        parse_config({**GOOD, **change})


def test_missing_keys_are_named():
    with pytest.raises(InvalidFileError, match="missing keys dataset, epochs"):
        parse_config({key: value for key, value in GOOD.items() if key not in {"dataset", "epochs"}})


def test_not_an_object():
    with pytest.raises(InvalidFileError, match="found list"):
        parse_config([])
