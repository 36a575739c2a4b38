from __future__ import annotations

import pytest

from qdeploy.models.registry import ARCHITECTURES, build
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError

RNN = {"input_size": 1, "hidden_size": 4, "num_classes": 2}


@pytest.mark.parametrize(
    ("architecture", "hyperparameters"),
    [("lenet-300-100", {}), ("quaternion-lenet-300-100", {"in_features": 64}), ("orthogonal-classifier", RNN)],
)
def test_builds_what_it_lists(architecture, hyperparameters):
    assert type(build(architecture, hyperparameters)) is ARCHITECTURES[architecture]


def test_unknown_architecture_lists_those_that_exist():
    with pytest.raises(UnsupportedModelError) as caught:
        build("gru", {})
    assert all(name in str(caught.value) for name in ARCHITECTURES)


@pytest.mark.parametrize(
    ("architecture", "hyperparameters", "message"),
    [
        ("orthogonal-classifier", {**RNN, "colour": 1}, "unknown hyper-parameters colour"),
        ("orthogonal-classifier", {"input_size": 1}, "hidden_size is missing"),
        ("orthogonal-classifier", {**RNN, "hidden_size": 4.0}, "hidden_size=4.0, expected an integer"),
        ("orthogonal-classifier", {**RNN, "hidden_size": True}, "hidden_size=True"),
        ("orthogonal-classifier", {**RNN, "hidden_size": 0}, "hidden_size=0"),
        ("orthogonal-classifier", {**RNN, "hidden_size": 10**9}, "hidden_size"),
        ("orthogonal-classifier", {**RNN, "hidden_size": None}, "hidden_size=None"),
        ("orthogonal-classifier", {**RNN, "weight_bits": 9}, r"weight_bits=9, expected an integer in \[1, 8\] or null"),
        ("orthogonal-classifier", {**RNN, "activation": "elu"}, "activation='elu', expected one of relu, modrelu"),
        ("orthogonal-classifier", {**RNN, "activation": ["relu"]}, "activation"),
        ("orthogonal-classifier", {**RNN, "steps": None}, "steps=None"),
        ("orthogonal-classifier", {**RNN, "output_activation": "elu"}, "expected one of null, relu, modrelu, tanh"),
        ("quaternion-lenet-300-100", {"in_features": 63}, "a multiple of 4"),
        ("lenet-300-100", {"num_classes": "10"}, "num_classes='10'"),
    ],
)
def test_strict_hyperparameters(architecture, hyperparameters, message):
    with pytest.raises(InvalidInputError, match=message):
        build(architecture, hyperparameters)
