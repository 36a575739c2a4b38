"""Parcollet's layout of quaternion RNN and LSTM, against their equations."""

from __future__ import annotations

import pytest
import torch

from qdeploy.models.importers.orkis import orkis_classifier, orkis_layer
from qdeploy.runtime.errors import InvalidFileError

from .test_speechbrain import Weights, drawn

INPUTS, N, CLASSES, T, B = 8, 3, 5, 6, 4
H = 4 * N
LSTM = {"wfx": 0, "ufh": 10, "wix": 20, "uih": 30, "wox": 40, "uoh": 50, "wcx": 60, "uch": 70}


def products(names, *, state_bias=False):
    return {
        name: Weights(
            (INPUTS if name.startswith("w") else H) // 4, N, bias=name.startswith("w") or state_bias, seed=seed
        )
        for name, seed in names.items()
    }


def state_of(parts, **others):
    named = {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in part.state_dict().items()}
    return named | {"fco.weight": drawn(CLASSES, H, seed=1), "fco.bias": drawn(CLASSES, seed=2)} | others


@pytest.mark.parametrize("state_bias", [False, True])
def test_lstm(state_bias):
    parts = products(LSTM, state_bias=state_bias)
    state, x = state_of(parts), drawn(T, B, INPUTS, seed=5)
    with torch.no_grad():
        h = c = torch.zeros(B, H)
        outputs = []
        for t in range(T):
            f, i, o = (torch.sigmoid(parts[f"w{g}x"](x[t]) + parts[f"u{g}h"](h)) for g in "fio")
            c = i * torch.tanh(parts["wcx"](x[t]) + parts["uch"](h)) + f * c
            h = o * torch.tanh(c)
            outputs.append(h @ state["fco.weight"].t() + state["fco.bias"])
        classifier = orkis_classifier(state)
        torch.testing.assert_close(classifier(x.transpose(0, 1)), torch.stack(outputs, dim=1), atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(orkis_layer(state)(x)[0][-1], h, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn(activation):
    parts = products({"wx": 0, "uh": 10})
    state, x = state_of(parts), drawn(T, B, INPUTS, seed=5)
    with torch.no_grad():
        h = torch.zeros(B, H)
        for t in range(T):
            total = parts["wx"](x[t]) + parts["uh"](h)
            h = torch.tanh(total) if activation == "tanh" else torch.relu(total)
        classifier = orkis_classifier(state, activation=activation, readout="last")
        expected = h @ state["fco.weight"].t() + state["fco.bias"]
        torch.testing.assert_close(classifier(x.transpose(0, 1)), expected, atol=1e-5, rtol=1e-5)
    assert classifier.cell == f"quaternion-rnn-{activation}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("uch.k_weight"), "'uch.k_weight' is missing"),
        (lambda state: state.update({"wzx.r_weight": torch.ones(2, 3)}), "found wzx.r_weight"),
        (lambda state: state.update({"wix.bias": torch.ones(3)}), "biases of wix, uih"),
        (
            lambda state: state.update({f"uoh.{part}_weight": torch.ones(3, 4) for part in "rijk"}),
            "components of wox and uoh",
        ),
        (lambda state: state.update({"fco.weight": torch.ones(5, 7)}), "fco has the shapes"),
        (lambda state: state.pop("fco.weight"), "'fco.weight' is missing"),
    ],
)
def test_other_state_dicts_are_refused(change, words):
    state = state_of(products(LSTM))
    change(state)
    with pytest.raises(InvalidFileError, match=words):
        orkis_classifier(state)


def test_a_prefix_is_taken_off():
    state = {f"model.{name}": tensor for name, tensor in state_of(products(LSTM)).items()}
    assert orkis_layer(state, prefix="model.").hidden_size == H
    with pytest.raises(InvalidFileError, match="is missing"):
        orkis_layer(state)
