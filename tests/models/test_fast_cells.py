from __future__ import annotations

import pytest
import torch

from qdeploy.models.fast_grnn import FastGRNN
from qdeploy.models.fast_rnn import NONLINEARITIES, FastRNN, nonlinear
from qdeploy.runtime.errors import InvalidInputError

INPUTS = torch.linspace(-2, 2, 5 * 3 * 4).reshape(5, 3, 4)


def test_fast_grnn_is_the_papers_equation():
    torch.manual_seed(1)
    layer = FastGRNN(4, 6)
    states, last = layer(INPUTS)
    h = torch.zeros(3, 6)
    zeta, nu = torch.sigmoid(layer.zeta), torch.sigmoid(layer.nu)
    for t in range(5):
        shared = INPUTS[t] @ layer.W + h @ layer.U
        z = torch.sigmoid(shared + layer.bias_gate)
        h = (zeta * (1 - z) + nu) * torch.tanh(shared + layer.bias_update) + z * h
        assert torch.allclose(states[t], h, atol=1e-6)
    assert torch.equal(states[-1], last)


def test_fast_rnn_is_the_papers_equation():
    torch.manual_seed(1)
    layer = FastRNN(4, 6, "relu")
    h = torch.ones(3, 6)
    states, _ = layer(INPUTS, h)
    for t in range(5):
        fresh = torch.relu(INPUTS[t] @ layer.W + h @ layer.U + layer.bias_update)
        h = torch.sigmoid(layer.alpha) * fresh + torch.sigmoid(layer.beta) * h
        assert torch.allclose(states[t], h, atol=1e-6)


@pytest.mark.parametrize("layer", [FastRNN, FastGRNN])
def test_a_low_rank_is_the_product_of_its_factors(layer):
    low = layer(4, 6, input_rank=2, recurrent_rank=3)
    assert {name: tuple(value.shape) for name, value in low.named_parameters() if name[0] in "WU"} == {
        "W1": (4, 2), "W2": (2, 6), "U1": (6, 3), "U2": (3, 6),
    }  # fmt: skip
    full = layer(4, 6)
    full.load_state_dict({
        **{name: value for name, value in low.state_dict().items() if name[0] not in "WU"},
        "W": low.W1 @ low.W2, "U": low.U1 @ low.U2,
    })  # fmt: skip
    assert torch.allclose(low(INPUTS)[0], full(INPUTS)[0], atol=1e-5)


def test_nonlinearities():
    values = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0])
    assert torch.equal(nonlinear(values, "quant_tanh"), torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    assert torch.equal(nonlinear(values, "quant_sigmoid"), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert len({tuple(nonlinear(values, name).tolist()) for name in NONLINEARITIES}) == len(NONLINEARITIES)


@pytest.mark.parametrize(
    "changed", [{"activation": "sine"}, {"recurrent_rank": 7}, {"input_rank": 5}, {"hidden_size": 0}, {"input_rank": 0}]
)
@pytest.mark.parametrize("layer", [FastRNN, FastGRNN])
def test_refusals(layer, changed):
    with pytest.raises(InvalidInputError, match=next(iter(changed))):
        layer(**{"input_size": 4, "hidden_size": 6, **changed})


def test_other_inputs_are_refused():
    with pytest.raises(InvalidInputError, match=r"expected \[T, B, 4\]"):
        FastGRNN(4, 6)(INPUTS[..., :3])
    with pytest.raises(InvalidInputError, match="T >= 1"):
        FastRNN(4, 6)(INPUTS[:0])
