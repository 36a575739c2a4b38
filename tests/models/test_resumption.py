"""States whose file is whole and whose values are not those of any training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from qdeploy.models.config import parse_config
from qdeploy.models.training import TrainingData, train
from qdeploy.runtime.errors import InvalidFileError

CONFIG = {
    "name": "tiny",
    "dataset": "none",
    "architecture": "orthogonal-classifier",
    "hyperparameters": {"input_size": 2, "hidden_size": 3, "num_classes": 2, "activation": "relu"},
    "epochs": 2,
    "batch_size": 2,
    "learning_rate": 0.001,
}


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).random((4, 5, 2)).astype(np.float32)
    return TrainingData(x, np.array([0, 1, 0, 1]), x, np.array([0, 1, 0, 1]), 0)


@pytest.fixture(scope="module")
def state(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("trained")
    train(parse_config(CONFIG), data, folder)
    return torch.load(folder / "training-state.pt", weights_only=True)


def resume(folder, data, state):
    torch.save(state, folder / "training-state.pt")
    return train(parse_config(CONFIG), data, folder)


def test_a_state_as_it_was_written(tmp_path, data, state):
    assert resume(tmp_path, data, state).epochs == 2


def weights(state):
    return next(iter(state["module"]))


CHANGES = {
    "epoch of another number": lambda s: s.update(epoch=-(10**9)),
    "epoch that is no number": lambda s: s.update(epoch="2"),
    "history cut": lambda s: s["history"].pop(),
    "history of numbers": lambda s: s.update(history=[1, 2]),
    "line without loss": lambda s: s["history"][0].pop("loss"),
    "line with more": lambda s: s["history"][0].update(more=1),
    "loss that is NaN": lambda s: s["history"][0].update(loss=float("nan")),
    "best of nothing": lambda s: s.update(best=None),
    "weights gone": lambda s: s["module"].pop(weights(s)),
    "weights of another shape": lambda s: s["module"].update({weights(s): torch.zeros(1)}),
    "weights of another type": lambda s: s["module"].update({weights(s): s["module"][weights(s)].double()}),
    "weights that are NaN": lambda s: s["module"].update({weights(s): s["module"][weights(s)] * torch.nan}),
    "best weights that are a list": lambda s: s.update(best_weights=[]),
    "optimizer of nothing": lambda s: s.update(optimizer={}),
    "optimizer's group gone": lambda s: s["optimizer"]["param_groups"].pop(),
    "rate that is a text": lambda s: s["optimizer"]["param_groups"][0].update(lr="0.1"),
    "moment of another shape": lambda s: next(iter(s["optimizer"]["state"].values())).update(exp_avg=torch.zeros(7)),
    "configuration of tensors": lambda s: s["config"].update(seed=torch.zeros(2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_states_that_fit_no_training(tmp_path, data, state, change):
    changed = copy.deepcopy(state)
    change(changed)
    with pytest.raises(InvalidFileError, match=r"training-state\.pt: .*remove it to begin anew, or do not resume"):
        resume(tmp_path, data, changed)
    assert [path.name for path in tmp_path.iterdir()] == ["training-state.pt"]
