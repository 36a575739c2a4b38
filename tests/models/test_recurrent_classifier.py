from __future__ import annotations

import pytest
import torch

from qdeploy.models import build
from qdeploy.models.recurrent_classifier import CELLS, RecurrentClassifier
from qdeploy.runtime.errors import InvalidInputError

INPUTS = torch.linspace(-1, 1, 3 * 7 * 4).reshape(3, 7, 4)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_readouts(cell, layers):
    torch.manual_seed(0)
    module = RecurrentClassifier(4, 8, 5, cell, layers=layers, readout="every")
    with torch.no_grad():
        every = module(INPUTS)
        assert every.shape == (3, 7, 5)
        module.readout = "last"
        assert torch.allclose(module(INPUTS), every[:, -1])
        # The output layer is affine.
        module.readout = "mean"
        assert torch.allclose(module(INPUTS), every.mean(dim=1), atol=1e-6)


def test_it_is_the_layer_of_torch():
    module = RecurrentClassifier(4, 8, 5, "gru")
    states, _ = module.layers[0](INPUTS.transpose(0, 1))
    assert torch.equal(module(INPUTS), module.output(states[-1]))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cell": "cuckoo"}, "cell='cuckoo'.*gru"),
        ({"readout": "first"}, "readout='first'"),
        ({"layers": 0}, "layers=0"),
        ({"hidden_size": -1}, "hidden_size=-1"),
    ],
)
def test_refusals(changed, message):
    values = {"input_size": 4, "hidden_size": 8, "num_classes": 5, "cell": "gru", **changed}
    with pytest.raises(InvalidInputError, match=message):
        RecurrentClassifier(**values)
    with pytest.raises(InvalidInputError):
        build("recurrent-classifier", values)


def test_other_shapes_are_refused():
    with pytest.raises(InvalidInputError, match=r"expected \[B, T, 4\]"):
        RecurrentClassifier(4, 8, 5, "lstm")(INPUTS[..., :3])


def test_options_of_a_cell_reach_every_layer():
    module = build(
        "recurrent-classifier",
        {
            "input_size": 4, "hidden_size": 8, "num_classes": 5, "cell": "fast-grnn", "layers": 2,
            "input_rank": 2, "recurrent_rank": 3, "activation": "quant_tanh", "gate_activation": "quant_sigmoid",
        },
    )  # fmt: skip
    for layer in module.layers:
        assert (layer.input_rank, layer.recurrent_rank) == (2, 3)
        assert (layer.activation, layer.gate_activation) == ("quant_tanh", "quant_sigmoid")
    with pytest.raises(InvalidInputError, match="gate_activation='tanh': cell 'fast-rnn'"):
        RecurrentClassifier(4, 8, 5, "fast-rnn", gate_activation="tanh")
    with pytest.raises(InvalidInputError, match="recurrent_rank=2: cell 'gru'"):
        RecurrentClassifier(4, 8, 5, "gru", recurrent_rank=2)
