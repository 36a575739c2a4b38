from __future__ import annotations

import pytest
import torch

from qdeploy.models import build
from qdeploy.models.config import parse_config
from qdeploy.models.hadamard_rnn import HadamardRNN, hadamard_transform, signs, sylvester_matrix
from qdeploy.models.initialization import initial_module
from qdeploy.models.optimizer import make_optimizer
from qdeploy.models.recurrence import recurrence
from qdeploy.runtime.errors import InvalidInputError


def sylvester(size: int) -> torch.Tensor:
    """By its definition: four times itself, the last one negative."""
    if size == 1:
        return torch.ones(1, 1)
    half = sylvester(size // 2)
    return torch.cat([torch.cat([half, half], 1), torch.cat([half, -half], 1)])


@pytest.mark.parametrize("size", [1, 2, 4, 16, 64])
def test_transform_is_the_product_with_sylvesters_matrix(size):
    assert torch.equal(sylvester_matrix(size), sylvester(size))
    values = torch.randint(-50, 50, (3, 2, size)).float()
    assert torch.equal(hadamard_transform(values), values @ sylvester(size))


def test_transform_of_no_power_of_two_is_refused():
    with pytest.raises(InvalidInputError, match="found 12 values, expected a power of two"):
        hadamard_transform(torch.ones(2, 12))


def test_sign_of_zero_is_one_and_the_gradient_passes():
    latent = torch.tensor([-0.5, 0.0, 2.0], requires_grad=True)
    found = signs(latent)
    assert found.tolist() == [-1.0, 1.0, 1.0]
    found.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert latent.grad is not None
    assert latent.grad.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("hidden", "block"), [(8, None), (8, 2), (24, 8), (5, 1)])
def test_weight_is_signs_times_blocks_and_orthogonal(hidden, block):
    torch.manual_seed(0)
    layer = HadamardRNN(2, hidden, weight_bits=4, block_size=block)
    weight, input_weight = layer.materialize()
    size = block or hidden
    blocks = torch.block_diag(*[sylvester(size)] * (hidden // size)) / size**0.5
    expected = torch.diag(torch.where(layer.sign_vector >= 0, 1.0, -1.0)) @ blocks
    torch.testing.assert_close(weight, expected, rtol=0, atol=0)
    torch.testing.assert_close(weight @ weight.T, torch.eye(hidden), rtol=0, atol=1e-6)
    levels = input_weight / input_weight.abs().max() * 8
    torch.testing.assert_close(levels, levels.round())


@pytest.mark.parametrize(("hidden", "block"), [(12, None), (12, 8), (12, 3), (12, 0), (12, -4), (4, 8)])
def test_blocks_that_cannot_be_are_refused(hidden, block):
    with pytest.raises(InvalidInputError, match=f"block_size={block}, hidden_size={hidden}: expected a power of two"):
        HadamardRNN(1, hidden, block_size=block)


@pytest.mark.parametrize("learned", [False, True])
def test_last_state_by_doubling_equals_the_loop(learned):
    torch.manual_seed(1)
    layer = HadamardRNN(1, 16, block_size=4)
    layer.bias.data.uniform_(-0.1, 0.1)
    layer.sign_vector.requires_grad_(learned)
    inputs = torch.rand(50, 20, 1)
    for _ in range(2):
        weight, input_weight = layer.materialize()
        expected = recurrence(inputs, torch.zeros(20, 16), weight, input_weight, layer.bias.detach(), "linear")[1]
        torch.testing.assert_close(layer.last_state(inputs), expected, rtol=1e-4, atol=1e-5)
        # Powers that were kept are those of the signs before.
        layer.sign_vector.data.neg_()


CONFIG = {
    "name": "h",
    "dataset": "sequential-digits",
    "architecture": "orthogonal-classifier",
    "hyperparameters": {
        "input_size": 1,
        "hidden_size": 8,
        "num_classes": 3,
        "activation": "linear",
        "orthogonal": "hadamard",
        "block_size": 4,
    },
    "epochs": 1,
    "batch_size": 2,
    "learning_rate": 0.01,
}


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_signs_rest_or_are_learned(rate):
    config = parse_config({**CONFIG, "recurrent_learning_rate": rate})
    torch.manual_seed(2)
    module = initial_module(config)
    optimizer = make_optimizer(module, config)
    before = module.recurrent.sign_vector.detach().clone()
    torch.nn.functional.cross_entropy(module(torch.rand(4, 9, 1)), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    module.recurrent.retract()
    after = module.recurrent.sign_vector.detach()
    assert torch.equal(before, after) == (rate == 0.0)
    assert after.abs().max() <= 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_cycles": [8]}, "of a Hadamard recurrence initial_input_range alone"),
        ({"initial_random": True, "initial_input_range": 1.0}, "found also initial_random"),
    ],
)
def test_other_starts_are_refused(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        initial_module(parse_config({**CONFIG, **changes}))


def test_initial_input_range_is_kept():
    module = initial_module(parse_config({**CONFIG, "initial_input_range": 0.01}))
    assert float(module.recurrent.input_weight.detach().abs().max()) <= 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_size": 3}, "block_size=3, hidden_size=8"),
        ({"orthogonal": "bjorck"}, "block_size=4 with orthogonal='bjorck'"),
    ],
)
def test_classifier_checks_the_block(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        build(CONFIG["architecture"], {**CONFIG["hyperparameters"], **changes})
