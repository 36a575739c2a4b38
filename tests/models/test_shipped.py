"""The checkpoints that come with the package are what their JSON says."""

from __future__ import annotations

import pytest
import torch

from qdeploy import datasets
from qdeploy.capture.checkpoint_source import load_named
from qdeploy.models.checkpoint import load_checkpoint
from qdeploy.models.config import config_names, load_config, parse_config
from qdeploy.models.evaluation import evaluate
from qdeploy.models.orthogonal_classifier import OrthogonalClassifier
from qdeploy.models.shipped import resolve, shipped_names
from qdeploy.runtime.errors import InvalidInputError, MissingDataError


def test_kinds_that_are_shipped():
    assert {"qornn-digits", "ornn-digits", "qornn-smnist", "qornn-copy", "quaternion-lenet300-mnist"} <= set(
        shipped_names()
    )
    assert {
        "gru-spoken",
        "lstm-spoken",
        "rnn-spoken",
        "quaternion-lstm-spoken",
        "fastrnn-spoken",
        "fastgrnn-spoken",
        "fastgrnn-low-rank-spoken",
    } <= set(shipped_names())


@pytest.mark.parametrize("name", shipped_names())
def test_loads_and_comes_from_the_shipped_configuration(name):
    loaded = load_checkpoint(resolve(name))
    metadata = loaded.metadata
    assert name in config_names()
    assert parse_config(metadata["config"]) == load_config(name)
    assert metadata["command"] == f"qdeploy train {name} --output {name}"
    shape = metadata["input"]["shape"]
    # A sample of one axis with a vocabulary holds indices.
    indices = "vocabulary" in metadata and len(shape) == 1
    logits = loaded.module(torch.zeros(2, *shape, dtype=torch.int64 if indices else torch.float32))
    assert logits.shape[-1] == metadata["hyperparameters"]["num_classes"]
    assert bool(torch.isfinite(logits).all())


IMAGES = [name for name in shipped_names() if any(data in name for data in ("mnist", "fashion", "cifar"))]


@pytest.mark.parametrize("name", sorted(set(shipped_names()) - set(IMAGES)))
def test_measured_accuracy_is_the_recorded_one(name):
    loaded = load_checkpoint(resolve(name))
    try:
        data = datasets.load(loaded.metadata["dataset"], "test", limit=360)
    except MissingDataError as error:
        pytest.skip(str(error))
    # Networks that begin with an embedding take characters as indices.
    indices = len(loaded.metadata["input"]["shape"]) == 1 and data.vocabulary is not None
    x = data.x.argmax(axis=-1) if indices else data.x
    found = evaluate(loaded.module, torch.from_numpy(x), torch.from_numpy(data.y))
    if data.vocabulary is not None:
        # Other releases of Python have other paragraphs in the same part.
        assert abs(found - loaded.metadata["metrics"]["test_accuracy"]) <= 0.01
        return
    # Two samples: float sums differ between processors. (And the copy task's first 360 of 1,000 are alike.)
    assert abs(found - loaded.metadata["metrics"]["test_accuracy"]) <= 2 / len(data.x)


@pytest.mark.parametrize("name", IMAGES)
def test_measured_accuracy_on_images(name):
    loaded = load_checkpoint(resolve(name))
    limit = 200
    try:
        data = datasets.load(loaded.metadata["dataset"], "test", limit)
    except MissingDataError as error:
        pytest.skip(str(error))
    found = evaluate(loaded.module, torch.from_numpy(data.x), torch.from_numpy(data.y))
    # Five standard deviations of a mean of 200.
    expected = loaded.metadata["metrics"]["test_accuracy"]
    assert abs(found - expected) <= 5 * (expected * (1 - expected) / limit) ** 0.5 + 1 / limit


@pytest.mark.parametrize("name", [name for name in shipped_names() if "ornn" in name])
def test_states_stay_moderate(name):
    module = load_checkpoint(resolve(name)).module
    assert isinstance(module, OrthogonalClassifier)
    metadata = load_checkpoint(resolve(name)).metadata
    shape = metadata["input"]["shape"]
    inputs = torch.rand(shape[0], 4, shape[1], generator=torch.Generator().manual_seed(0))
    if "vocabulary" in metadata:
        inputs = torch.nn.functional.one_hot(inputs.argmax(dim=2), shape[1]).float()
    with torch.no_grad():
        states, _ = module.recurrent(inputs)
    # Twelve bits of state: below 50, a step of it is about 0.01. Noise of full range fills a linear loop more than images do.
    assert states.abs().max() < (100 if module.recurrent.activation == "linear" else 50)


def test_unknown_name_lists_the_shipped():
    with pytest.raises(InvalidInputError, match="no shipped checkpoint 'gru'"):
        resolve("gru")


def test_a_folder_of_a_training_does_not_hide_the_shipped_network(tmp_path, monkeypatch):
    (tmp_path / "lenet300-digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_named("lenet300-digits").metadata["name"] == "lenet300-digits"
