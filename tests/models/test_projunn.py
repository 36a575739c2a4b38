"""projUNN's steps against the dense computations of the same, and its optimizer in trainings."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.models.config import TrainingConfig
from qdeploy.models.optimizer import make_optimizer
from qdeploy.models.orthogonal_classifier import OrthogonalClassifier
from qdeploy.models.projunn import exponential_step, low_rank, nearer_orthogonal, polar_step
from qdeploy.models.projunn_optimizer import LEARNING_RATE_DIVISOR, RESTORED_EVERY, STEPS, ProjUNN
from qdeploy.runtime.errors import InvalidInputError


def orthogonal(size, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    matrix, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return matrix.to(dtype)


def factors(size, rank, length, seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(size, rank, generator=generator, dtype=torch.float64) / size**0.5
    return a, length * torch.randn(size, rank, generator=generator, dtype=torch.float64) / size**0.5


def off_manifold(weight):
    wide = weight.detach().double()
    return float((wide.t() @ wide - torch.eye(len(wide), dtype=torch.float64)).abs().max())


def polar_by_svd(weight, a, b):
    left, _, right = torch.linalg.svd(weight + a @ b.t())
    return left @ right


def exponential_of_tangent(weight, a, b):
    product = weight.t() @ a @ b.t()
    return weight @ torch.linalg.matrix_exp((product - product.t()) / 2)


# matrix_exp's own Taylor series is right to 1e-10 only.
DENSE = {polar_step: (polar_by_svd, 1e-12), exponential_step: (exponential_of_tangent, 1e-9)}

sizes = st.integers(2, 24)
seeds = st.integers(0, 10**6)


@pytest.mark.parametrize("step", DENSE)
@settings(max_examples=60, deadline=None)
@given(size=sizes, rank=st.integers(1, 4), length=st.sampled_from([1e-4, 0.01, 0.1, 0.5]), seed=seeds)
def test_step_is_the_dense_one(step, size, rank, length, seed):
    weight = orthogonal(size, seed)
    a, b = factors(size, min(rank, size), length, seed)
    dense, tolerance = DENSE[step]
    assert torch.allclose(step(weight, a, b), dense(weight, a, b), rtol=0, atol=tolerance)


@pytest.mark.parametrize("step", DENSE)
def test_step_of_170_units_is_orthogonal_and_goes_down(step):
    weight = orthogonal(170)
    a, b = factors(170, 1, 0.1, 3)
    moved = step(weight, a, b)
    assert off_manifold(moved) < 1e-13
    # <change, a b^T> is positive: it moves where it should.
    assert float(((moved - weight) * (a @ b.t())).sum()) > 0


@pytest.mark.parametrize("step", DENSE)
def test_no_change_and_parallel_factors(step):
    weight = orthogonal(6)
    a, b = factors(6, 1, 0.3, 1)
    assert torch.allclose(step(weight, a, 0.0 * b), weight, rtol=0, atol=1e-15)
    # b parallel to W^T a: the span has one dimension, of a symmetric change, which is no tangent.
    parallel = step(weight, a, weight.t() @ a)
    assert torch.allclose(parallel, weight, rtol=0, atol=1e-14)


def test_a_singular_step_stays_finite():
    weight = orthogonal(5)
    a = weight[:, :1]
    b = -torch.eye(5, dtype=torch.float64)[:, :1]
    assert torch.isfinite(polar_step(weight, a, b)).all()


@given(size=sizes, seed=seeds)
def test_low_rank_of_a_matrix_of_that_rank_is_exact(size, seed):
    a, b = factors(size, min(2, size), 1.0, seed)
    found_a, found_b = low_rank(a @ b.t(), min(2, size))
    assert torch.allclose(found_a @ found_b.t(), a @ b.t(), rtol=0, atol=1e-12)


def test_low_rank_is_near_the_best():
    generator = torch.Generator().manual_seed(1)
    change = torch.randn(60, 60, generator=generator) + 3 * torch.outer(
        torch.randn(60, generator=generator), torch.randn(60, generator=generator)
    )
    for rank in (1, 2):
        a, b = low_rank(change, rank)
        best = torch.linalg.svdvals(change)[rank:].norm()
        assert (change - a @ b.t()).norm() <= 1.02 * best
        again = low_rank(change, rank)
        assert torch.equal(a, again[0])
        assert torch.equal(b, again[1])
    assert float(low_rank(torch.zeros(4, 4), 2)[1].abs().max()) == 0.0


def test_newton_and_schulz():
    weight = orthogonal(20) + 1e-4 * torch.randn(
        20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    before = off_manifold(weight)
    assert off_manifold(nearer_orthogonal(weight)) < 30 * before**2


@pytest.mark.parametrize("kind", STEPS)
def test_stays_orthogonal_over_thousands_of_steps(kind):
    parameter = torch.nn.Parameter(orthogonal(32, dtype=torch.float32))
    begin = parameter.detach().clone()
    optimizer = ProjUNN(parameter, kind, lr=0.01)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for step in range(3000):
        parameter.grad = torch.randn(32, 32, generator=generator)
        optimizer.step()
        if step % 50 == 0 or step % RESTORED_EVERY == RESTORED_EVERY - 2:
            worst = max(worst, off_manifold(parameter))
    # An element of W is below 1, of which float32 keeps 6e-8.
    assert worst < 3e-6
    assert off_manifold(parameter) < 5e-7
    assert float((parameter.detach() - begin).norm()) > 1.0


@pytest.mark.parametrize("kind", STEPS)
def test_finds_an_orthogonal_matrix(kind):
    # A rotation, for the exponential cannot change the determinant's sign.
    drawn = 0.4 * torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
    target = torch.matrix_exp(drawn - drawn.t())
    parameter = torch.nn.Parameter(torch.eye(8))
    optimizer = ProjUNN(parameter, kind, lr=0.003)
    losses = []
    for _ in range(1500):
        loss = (parameter - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.02 * losses[0]


def test_full_rank_is_taken_too():
    parameter = torch.nn.Parameter(orthogonal(3, dtype=torch.float32))
    parameter.grad = torch.ones(3, 3).tril()
    ProjUNN(parameter, "projunn-d", lr=0.01, rank=3).step()
    assert off_manifold(parameter) < 1e-6


def test_refusals():
    parameter = torch.nn.Parameter(torch.eye(3))
    with pytest.raises(InvalidInputError, match="expected one of projunn-d, projunn-t"):
        ProjUNN(parameter, "bjorck", lr=0.1)
    with pytest.raises(InvalidInputError, match="projunn_rank=4: expected 1 to 3"):
        ProjUNN(parameter, "projunn-d", lr=0.1, rank=4)
    for bad in (2 * torch.eye(3), torch.full((3, 3), float("nan"))):
        with pytest.raises(InvalidInputError, match="expected an orthogonal one"):
            ProjUNN(torch.nn.Parameter(bad), "projunn-t", lr=0.1)


def test_nothing_without_a_gradient():
    parameter = torch.nn.Parameter(torch.eye(3))
    ProjUNN(parameter, "projunn-d", lr=0.1).step()
    assert torch.equal(parameter.detach(), torch.eye(3))


@pytest.fixture
def config():
    return TrainingConfig(
        name="tiny",
        dataset="none",
        architecture="orthogonal-classifier",
        hyperparameters={
            "input_size": 1,
            "hidden_size": 8,
            "num_classes": 3,
            "weight_bits": 4,
            "orthogonal": "projunn-d",
        },
        epochs=4,
        batch_size=8,
        learning_rate=0.02,
        clip_norm=1.0,
        validation=8,
        seed=3,
    )


def test_learning_rates(config):
    module = OrthogonalClassifier(**config.hyperparameters)
    rates = [group["lr"] for group in make_optimizer(module, config).param_groups]
    assert sorted(rates) == [0.02 / LEARNING_RATE_DIVISOR, 0.02, 0.02, 0.02]
    chosen = dataclasses.replace(config, recurrent_learning_rate=0.005)
    assert min(group["lr"] for group in make_optimizer(module, chosen).param_groups) == 0.005


def test_the_quantized_weight_goes_forward_and_the_latent_one_is_orthogonal(config):
    module = OrthogonalClassifier(**config.hyperparameters)
    module.recurrent.reset_parameters(random=True)
    module.recurrent.recurrent_weight.grad = None
    optimizer = make_optimizer(module, config)
    x = torch.rand(4, 5, 1, generator=torch.Generator().manual_seed(0))
    loss = module(x).square().sum()
    loss.backward()
    gradient = module.recurrent.recurrent_weight.grad
    assert gradient is not None
    # Straight through: the gradient at the quantized weight is the latent one's.
    twin = OrthogonalClassifier(**{**config.hyperparameters, "orthogonal": "none", "weight_bits": None})
    twin.load_state_dict(module.state_dict())
    with torch.no_grad():
        twin.recurrent.recurrent_weight.copy_(module.recurrent.materialize()[0])
        twin.recurrent.input_weight.copy_(module.recurrent.materialize()[1])
        twin.output_weight.copy_(module.materialize_output()[0])
    twin(x).square().sum().backward()
    assert torch.allclose(twin.recurrent.recurrent_weight.grad, gradient, rtol=1e-4, atol=1e-6)
    optimizer.step()
    module.recurrent.retract()
    assert off_manifold(module.recurrent.recurrent_weight) < 1e-6
    levels = module.recurrent.materialize()[0] * 8 / module.recurrent.recurrent_weight.abs().max()
    assert torch.allclose(levels, levels.round(), rtol=0, atol=1e-4)
