from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import qdeploy.training
from qdeploy import datasets
from qdeploy.datasets import Dataset
from qdeploy.models import shipped, training
from qdeploy.models.checkpoint import load_checkpoint
from qdeploy.models.config import TrainingConfig, load_config
from qdeploy.models.evaluation import evaluate
from qdeploy.models.optimizer import cosine_factor
from qdeploy.models.orthogonal_rnn import OrthogonalRNN
from qdeploy.models.training import TrainingData, train
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingDataError, QdeployError


@pytest.fixture
def data():
    """Which of three steps carries the pulse: a recurrent network has to remember it."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 96)
    x = generator.uniform(0, 0.1, (96, 3, 1)).astype(np.float32)
    x[np.arange(96), y] = 1.0
    return TrainingData(x[:72], y[:72], x[72:], y[72:], 0)


@pytest.fixture
def config():
    return TrainingConfig(
        name="tiny",
        dataset="none",
        architecture="orthogonal-classifier",
        hyperparameters={"input_size": 1, "hidden_size": 8, "num_classes": 3, "weight_bits": 4},
        epochs=4,
        batch_size=8,
        learning_rate=0.02,
        recurrent_learning_rate=0.005,
        clip_norm=1.0,
        validation=8,
        initial_cycles=(4, 4),
        seed=3,
    )


@pytest.fixture
def files_after_each_epoch(monkeypatch):
    monkeypatch.setattr(training, "WRITE_INTERVAL", 0.0)


def weights(path):
    return load_checkpoint(path).module.state_dict()


@pytest.mark.parametrize("orthogonal", ["projunn-d", "projunn-t"])
def test_projunn_learns_and_stays_orthogonal(tmp_path, config, data, orthogonal):
    config = dataclasses.replace(
        config, epochs=25, initial_cycles=None, hyperparameters={**config.hyperparameters, "orthogonal": orthogonal}
    )
    report = train(config, data, tmp_path)
    assert report.best.test_accuracy == 1.0
    weight = weights(report.checkpoint)["recurrent.recurrent_weight"]
    assert torch.allclose(weight.t() @ weight, torch.eye(8), rtol=0, atol=1e-6)
    begin = OrthogonalRNN(1, 8).recurrent_weight.detach()
    assert float((weight - begin).norm()) > 0.1


def test_learns_and_writes_its_files(tmp_path, config, data):
    config = dataclasses.replace(config, epochs=25)
    report = train(config, data, tmp_path, command="qdeploy train tiny --output tiny")
    assert report.best.test_accuracy == 1.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "learning-curve.png",
        "metrics.jsonl",
        "tiny.json",
        "tiny.safetensors",
        "training-state.pt",
    ]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 26))
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert (tmp_path / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    loaded = load_checkpoint(report.checkpoint)
    assert loaded.metadata["input"] == {"name": "x", "shape": [3, 1], "time_axis": 0}
    assert loaded.metadata["command"] == "qdeploy train tiny --output tiny"
    # The checkpoint is what its figures are of.
    test = torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)
    assert evaluate(loaded.module, *test) == loaded.metadata["metrics"]["test_accuracy"]


def test_same_seed_same_bits_and_another_seed_others(tmp_path, config, data):
    torch.manual_seed(1)
    first = weights(train(config, data, tmp_path / "a").checkpoint)
    torch.manual_seed(2)
    drawn = torch.get_rng_state()
    second = weights(train(config, data, tmp_path / "b").checkpoint)
    assert torch.equal(torch.get_rng_state(), drawn), "the caller's random numbers were used"
    other = weights(train(dataclasses.replace(config, seed=4), data, tmp_path / "c").checkpoint)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["output_weight"], other["output_weight"])


class Stop(Exception):  # noqa: N818 - an interruption, no error
    pass


def stop_at(part):
    def progress(words, done):
        assert "loss" in words
        if done >= part:
            raise Stop

    return progress


@pytest.mark.usefixtures("files_after_each_epoch")
@pytest.mark.parametrize("part", [0.3, 0.5, 0.99])
@pytest.mark.parametrize("orthogonal", ["bjorck", "projunn-d", "projunn-t"])
def test_interrupted_training_resumes_to_the_same_bits(tmp_path, config, data, part, orthogonal):
    config = dataclasses.replace(
        config, quantization_ramp=(0.5, 2.0), hyperparameters={**config.hyperparameters, "orthogonal": orthogonal}
    )
    whole = train(config, data, tmp_path / "whole")
    with pytest.raises(Stop):
        train(config, data, tmp_path / "parts", progress=stop_at(part))
    resumed = train(config, data, tmp_path / "parts")
    expected, found = weights(whole.checkpoint), weights(resumed.checkpoint)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    states = [torch.load(tmp_path / name / "training-state.pt", weights_only=True) for name in ("whole", "parts")]
    assert all(torch.equal(states[0]["module"][name], states[1]["module"][name]) for name in expected)

    def without_time(folder):
        lines = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        return [{**json.loads(line), "seconds": 0} for line in lines]

    assert without_time("whole") == without_time("parts")


def test_frozen_recurrent_weight_stays_while_the_rest_learns(tmp_path, config, data):
    begin = train(
        dataclasses.replace(config, epochs=1, learning_rate=0.0, recurrent_learning_rate=0.0), data, tmp_path / "a"
    )
    frozen = dataclasses.replace(config, recurrent_learning_rate=0.0, bias_learning_rate=0.001)
    first, last = weights(begin.checkpoint), weights(train(frozen, data, tmp_path / "b").checkpoint)
    assert torch.equal(first["recurrent.recurrent_weight"], last["recurrent.recurrent_weight"])
    assert not torch.equal(first["recurrent.bias"], last["recurrent.bias"])
    assert not torch.equal(first["output_weight"], last["output_weight"])


def test_input_noise_is_of_the_seed_and_of_training_alone(tmp_path, config, data):
    noisy = dataclasses.replace(config, input_noise=0.1, learning_rate=0.0, recurrent_learning_rate=0.0)
    first, again = train(noisy, data, tmp_path / "a"), train(noisy, data, tmp_path / "b")
    assert first.last.loss == again.last.loss
    quiet = train(dataclasses.replace(noisy, input_noise=0.0), data, tmp_path / "c")
    assert quiet.last.loss != first.last.loss
    # Nothing was learned, and test samples have no noise.
    assert quiet.last.test_accuracy == first.last.test_accuracy


def test_without_held_out_samples_the_last_epoch_is_kept(tmp_path, config, data):
    report = train(dataclasses.replace(config, validation=0), data, tmp_path)
    assert report.best == report.last
    assert report.best.validation_accuracy is None


def test_the_best_held_out_accuracy_is_kept(tmp_path, config, data):
    # A rate at which accuracy jumps about.
    report = train(dataclasses.replace(config, epochs=12, learning_rate=0.5, schedule="constant"), data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    accuracies = [line["validation_accuracy"] for line in lines]
    assert len(set(accuracies)) > 1
    assert report.best.validation_accuracy == max(accuracies)
    assert report.best.epoch == max(line["epoch"] for line in lines if line["validation_accuracy"] == max(accuracies))


def test_cosine_factor():
    assert cosine_factor(0.0) == 1.0
    assert cosine_factor(0.5) == pytest.approx(0.505)
    assert cosine_factor(1.0) == pytest.approx(0.01)


def test_ended_training_is_not_repeated(tmp_path, config, data):
    first = train(config, data, tmp_path)
    again = train(config, data, tmp_path, progress=stop_at(0.0))
    assert again == first


def test_without_resume_it_begins_anew(tmp_path, config, data):
    train(config, data, tmp_path)
    with pytest.raises(Stop):
        train(config, data, tmp_path, resume=False, progress=stop_at(0.0))


def test_state_of_another_configuration(tmp_path, config, data):
    train(config, data, tmp_path)
    with pytest.raises(InvalidInputError, match="another configuration"):
        train(dataclasses.replace(config, seed=9), data, tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
def test_damaged_state(tmp_path, config, data, content):
    (tmp_path / "training-state.pt").write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"expected a training state|would run code"):
        train(config, data, tmp_path)


def test_state_of_another_kind(tmp_path, config, data):
    torch.save({"epoch": 1}, tmp_path / "training-state.pt")
    with pytest.raises(InvalidFileError, match="not a training state"):
        train(config, data, tmp_path)


def test_ramp_ends_on_the_grid_and_only_such_epochs_are_best(tmp_path, config, data):
    report = train(dataclasses.replace(config, quantization_ramp=(1.0, 3.0)), data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["quantization_strength"] for line in lines] == [0.0, 0.5, 1.0, 1.0]
    assert report.best.epoch >= 3


def test_loss_that_is_not_finite(tmp_path, config, data):
    bad = dataclasses.replace(data, train_x=np.full_like(data.train_x, np.nan))
    with pytest.raises(QdeployError, match="lower learning_rate"):
        train(config, bad, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_step_has_a_class(tmp_path):
    x, y = datasets.load("copy", "train", limit=40).x[:, :, :], datasets.load("copy", "train", limit=40).y
    config = dataclasses.replace(load_config("qornn-copy"), epochs=1, batch_size=10, validation=10)
    config = dataclasses.replace(config, hyperparameters={**config.hyperparameters, "hidden_size": 8})
    report = train(config, TrainingData(x[:30], y[:30], x[30:], y[30:], 0), tmp_path)
    assert 0.0 <= report.last.train_accuracy <= 1.0
    assert load_checkpoint(report.checkpoint).module(torch.from_numpy(x[:2])).shape == (2, 120, 9)


def test_too_little_data(tmp_path, config, data):
    with pytest.raises(InvalidInputError, match="less than one batch"):
        train(dataclasses.replace(config, validation=70), data, tmp_path)
    with pytest.raises(InvalidInputError, match="23 labels"):
        train(config, dataclasses.replace(data, test_y=data.test_y[:-1]), tmp_path)


def test_initial_cycle_is_of_recurrent_networks(tmp_path, config, data):
    lenet = dataclasses.replace(config, architecture="lenet-300-100", hyperparameters={"in_features": 4})
    with pytest.raises(InvalidInputError, match="initial_cycles"):
        train(lenet, data, tmp_path)


def test_goes_on_from_a_shipped_checkpoint(tmp_path, config, data, monkeypatch):
    first = train(config, data, tmp_path / "first")
    monkeypatch.setattr(shipped, "CHECKPOINT_FOLDER", tmp_path / "first")
    tuned = dataclasses.replace(config, name="tuned", initial_checkpoint="tiny", initial_cycles=None, validation=0)
    still = {"learning_rate": 0.0, "recurrent_learning_rate": 0.0}
    same = weights(train(dataclasses.replace(tuned, **still), data, tmp_path / "same").checkpoint)
    assert all(torch.equal(value, same[name]) for name, value in weights(first.checkpoint).items())
    frozen = dataclasses.replace(tuned, recurrent_learning_rate=0.0, input_learning_rate=0.0)
    found = weights(train(frozen, data, tmp_path / "frozen").checkpoint)
    changed = {name for name, value in same.items() if not torch.equal(value, found[name])}
    assert changed == {"recurrent.bias", "output_weight", "output_bias"}


def test_initial_checkpoint_must_fit(tmp_path, config, data, monkeypatch):
    train(config, data, tmp_path / "first")
    monkeypatch.setattr(shipped, "CHECKPOINT_FOLDER", tmp_path / "first")
    tuned = dataclasses.replace(config, initial_checkpoint="tiny")
    with pytest.raises(InvalidInputError, match="initial_checkpoint already says cycles"):
        train(tuned, data, tmp_path / "out")
    wider = {**config.hyperparameters, "hidden_size": 12}
    with pytest.raises(InvalidInputError, match="other hyper-parameters"):
        train(dataclasses.replace(tuned, hyperparameters=wider, initial_cycles=None), data, tmp_path / "out")
    with pytest.raises(InvalidInputError, match="no shipped checkpoint 'nothing'"):
        train(dataclasses.replace(tuned, initial_checkpoint="nothing", initial_cycles=None), data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_configuration_and_data_set_are_joined(tmp_path, monkeypatch, data):
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps(
            {
                "dataset": "digits",
                "architecture": "quaternion-lenet-300-100",
                "hyperparameters": {"in_features": 64},
                "epochs": 9,
                "batch_size": 8,
                "learning_rate": 0.001,
            }
        )
    )
    samples = np.random.default_rng(0).random((16, 64), dtype=np.float32)

    def load(name, split):
        return Dataset(name, split, samples, np.arange(16) % 10)

    monkeypatch.setattr(qdeploy.training.datasets, "load", load)
    calls = []
    report = qdeploy.training.train(
        path, tmp_path / "out", epochs=2, seed=5, progress=lambda words, done: calls.append(done)
    )
    metadata = load_checkpoint(report.checkpoint).metadata
    assert metadata["command"] == "qdeploy train mine.json --output out --seed 5 --epochs 2"
    assert (metadata["seed"], metadata["epochs"], metadata["dataset"]) == (5, 2, "digits")
    assert calls == [0.25, 0.5, 0.75, 1.0]


def test_missing_data_set_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("QDEPLOY_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDataError, match="train-images-idx3-ubyte"):
        qdeploy.training.train("lenet300-mnist", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_epochs_must_be_positive(tmp_path):
    with pytest.raises(InvalidInputError, match="epochs=0"):
        qdeploy.training.train("lenet300-digits", tmp_path, epochs=0)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import qdeploy.models as models
from qdeploy.runtime.errors import MissingRequirementError
assert "qornn-smnist" in models.config_names()
models.shipped_names()
for use in (lambda: models.OrthogonalRNN, lambda: __import__("qdeploy.training").training.train("ornn-digits", "x")):
    try:
        use()
    except MissingRequirementError as error:
        assert "pip install 'qdeploy[torch]'" in str(error), error
    else:
        raise SystemExit("no error without torch")
try:
    models.nothing
except AttributeError:
    pass
"""


def test_lists_work_without_torch():
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True)


def test_everything_public_can_be_imported():
    import qdeploy.models

    for name in qdeploy.models.__all__:
        assert getattr(qdeploy.models, name) is not None
