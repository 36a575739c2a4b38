from __future__ import annotations

import pytest
import torch
from torch import nn

from qdeploy.models.quaternion_batch_norm import (
    WHITENINGS,
    QuaternionBatchNorm,
    QuaternionSplitBatchNorm,
    QuaternionWhiteningBatchNorm,
    whitening_matrix,
)
from qdeploy.models.quaternion_linear import QuaternionLinear
from qdeploy.runtime.errors import InvalidInputError

FORMS = (QuaternionSplitBatchNorm, QuaternionBatchNorm, QuaternionWhiteningBatchNorm)
SHAPES = ((64, 12), (9, 12, 7), (5, 12, 4, 3), (3, 12, 2, 4, 3))


def mixed(*shape, seed=0):
    """Values whose channels are correlated, of other means and variances each."""
    generator = torch.Generator().manual_seed(seed)
    channels = shape[1]
    mixing = torch.randn(channels, channels, generator=generator)
    values = torch.randn(shape, generator=generator).movedim(1, -1) @ mixing + torch.randn(
        channels, generator=generator
    )
    return values.movedim(-1, 1)


def spread(layer, seed=1):
    """Trained-looking parameters and statistics."""
    generator = torch.Generator().manual_seed(seed)
    layer.train()
    for number in range(20):
        layer(mixed(32, layer.num_features, seed=number))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) / 4)
    return layer.eval()


def quaternions(rows):
    """[N, 4C] as [C, 4, N]."""
    return rows.reshape(len(rows), 4, -1).permute(2, 1, 0)


@pytest.mark.parametrize(
    ("shape", "real"), list(zip(SHAPES, (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), strict=True))
)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_split_form_is_batch_norm(shape, real, momentum):
    split, expected = QuaternionSplitBatchNorm(12, momentum=momentum), real(12, momentum=momentum)
    with torch.no_grad():
        expected.weight.uniform_(-1, 2)
        expected.bias.uniform_(-1, 2)
    split.load_state_dict(expected.state_dict())
    for seed in range(3):
        inputs = mixed(*shape, seed=seed)
        torch.testing.assert_close(split(inputs), expected(inputs))
    inputs = mixed(*shape, seed=9)
    torch.testing.assert_close(split.eval()(inputs), expected.eval()(inputs))
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], value)


def test_one_variance_keeps_ratios_within_a_quaternion():
    layer = QuaternionBatchNorm(12)
    inputs = mixed(400, 12)
    before, after = (quaternions(values - values.mean(dim=0)).detach() for values in (inputs, layer(inputs)))
    # The modulus has variance 1 (but for eps), and a quaternion is scaled by one number.
    torch.testing.assert_close(after.square().sum(dim=1).mean(dim=1), torch.ones(3), rtol=1e-3, atol=0)
    ratios = after / before
    torch.testing.assert_close(ratios, ratios[:, :1, :1].expand_as(ratios), rtol=1e-3, atol=0)


def test_one_variance_commutes_with_a_quaternion_layer():
    """What makes it fold: scaling the outputs is scaling the four components of the weights."""
    torch.manual_seed(0)
    linear, normalization = QuaternionLinear(8, 12), spread(QuaternionBatchNorm(12))
    inputs = torch.randn(5, 8)
    expected = normalization(linear(inputs))
    scale, shift = (value.float() for value in normalization.scale_and_shift())
    with torch.no_grad():
        for component in linear.components():
            component.mul_(scale[:3, None])
        linear.bias.copy_(scale * linear.bias + shift)
    torch.testing.assert_close(linear(inputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whitened_batch_has_identity_covariance(shape):
    layer = QuaternionWhiteningBatchNorm(12, eps=0.0).double()
    with torch.no_grad():
        layer.weight.mul_(2)
    inputs = mixed(*shape).double()
    rows = layer(inputs).detach().movedim(1, -1).reshape(-1, 12)
    columns = quaternions(rows)
    torch.testing.assert_close(columns.mean(dim=2), torch.zeros(3, 4).double(), rtol=0, atol=1e-9)
    covariance = columns @ columns.mT / columns.shape[2]
    torch.testing.assert_close(covariance, torch.eye(4).double().expand(3, 4, 4), rtol=0, atol=1e-9)


def test_what_the_whitenings_are():
    """V = L L^T, written out for two components that correlate: V = [[4, 2], [2, 10]], L = [[2, 0], [1, 3]]."""
    covariance = torch.eye(4).double()
    covariance[:2, :2] = torch.tensor([[4.0, 2.0], [2.0, 10.0]])
    expected = {
        "cholesky": [[1 / 2, 0], [-1 / 6, 1 / 3]],
        "htorch": [[1 / 2, -1 / 6], [0, 1 / 3]],
        "gaudet": [[2, 1], [1, 3]],
    }
    for name in WHITENINGS:
        found = whitening_matrix(covariance[None], name)[0]
        torch.testing.assert_close(found[:2, :2], torch.tensor(expected[name]).double())
        torch.testing.assert_close(found[2:, 2:], torch.eye(2).double())
        identity = torch.allclose(found @ covariance @ found.T, torch.eye(4).double())
        assert identity == (name == "cholesky")


def test_whitening_by_gaudets_equations():
    """The factor written out element by element, as in the appendix of the paper."""
    v = torch.cov(mixed(50, 4).double().T)
    rr = v[0, 0].sqrt()
    ri, rj, rk = (v[0, n] / rr for n in (1, 2, 3))
    ii = (v[1, 1] - ri * ri).sqrt()
    ij, ik = (v[1, 2] - ri * rj) / ii, (v[1, 3] - ri * rk) / ii
    jj = (v[2, 2] - ij * ij - rj * rj).sqrt()
    jk = (v[2, 3] - ij * ik - rj * rk) / jj
    kk = (v[3, 3] - jk * jk - ik * ik - rk * rk).sqrt()
    expected = torch.tensor([[rr, ri, rj, rk], [ri, ii, ij, ik], [rj, ij, jj, jk], [rk, ik, jk, kk]])
    torch.testing.assert_close(whitening_matrix(v[None], "gaudet")[0], expected.double())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_is_an_affine_map_with_running_statistics(form, shape):
    layer = spread(form(12))
    inputs = mixed(*shape, seed=3)
    rows = inputs.movedim(1, -1).reshape(-1, 12).double()
    if form is QuaternionWhiteningBatchNorm:
        matrix, shift = layer.matrix_and_shift()
        assert matrix.shape == (3, 4, 4)
        assert shift.shape == (4, 3)
        expected = (matrix @ quaternions(rows) + shift.T[:, :, None]).permute(2, 1, 0).reshape(rows.shape)
    else:
        scale, shift = layer.scale_and_shift()
        expected = rows * scale + shift
    found = layer(inputs).detach()
    assert found.shape == inputs.shape
    torch.testing.assert_close(found.movedim(1, -1).reshape(-1, 12).double(), expected, rtol=1e-4, atol=1e-4)
    # Evaluation leaves the statistics alone, and takes one sample.
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    torch.testing.assert_close(layer(inputs[:1]), found[:1])
    assert all(torch.equal(state[name], value) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("form", FORMS)
def test_channels_last(form):
    layer = spread(form(12))
    inputs = mixed(2, 12, 5)
    expected = layer(inputs).movedim(1, -1)
    layer.dim = -1
    torch.testing.assert_close(layer(inputs.movedim(1, -1)), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_running_statistics_are_averages_of_the_batches(form, momentum):
    layer = form(8, momentum=momentum)
    batches = [mixed(50, 8, seed=seed) for seed in range(3)]
    mean = torch.zeros(8)
    for number, batch in enumerate(batches):
        layer(batch)
        share = momentum if momentum is not None else 1 / (number + 1)
        mean = (1 - share) * mean + share * batch.mean(dim=0)
    torch.testing.assert_close(layer.running_mean.flatten(), mean)
    assert layer.num_batches_tracked == 3
    if form is QuaternionWhiteningBatchNorm and momentum == 1.0:
        columns = quaternions(batches[-1] - batches[-1].mean(dim=0))
        torch.testing.assert_close(layer.running_cov.permute(2, 0, 1), columns @ columns.mT / 50)


def test_initial_values():
    whitening = QuaternionWhiteningBatchNorm(8)
    half = (torch.eye(4) / 2)[:, :, None].expand(4, 4, 2)
    assert torch.equal(whitening.weight, half)
    assert torch.equal(whitening.running_cov, half)
    assert torch.equal(whitening.gamma(), half.permute(2, 0, 1))
    one = QuaternionBatchNorm(8)
    assert torch.equal(one.gamma, torch.ones(2))
    assert torch.equal(one.running_var, torch.ones(2))


def test_gamma_is_symmetric_where_asked():
    layer = QuaternionWhiteningBatchNorm(8)
    free = QuaternionWhiteningBatchNorm(8, symmetric=False)
    with torch.no_grad():
        layer.weight.normal_()
    free.load_state_dict(layer.state_dict())
    assert torch.equal(layer.gamma(), layer.gamma().mT)
    assert torch.equal(layer.gamma().tril(), free.gamma().tril())
    assert torch.equal(free.gamma(), layer.weight.permute(2, 0, 1))


@pytest.mark.parametrize("whitening", WHITENINGS)
def test_dead_and_extreme_channels_have_finite_gradients(whitening):
    """A channel of zeros, one of variance 1e-6, one of 1e3."""
    layer = QuaternionWhiteningBatchNorm(12, whitening=whitening)
    inputs = torch.randn(64, 4, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.0, 1e-3, 30.0])
    inputs = inputs.reshape(64, 12).requires_grad_()
    layer(inputs).square().sum().backward()
    assert inputs.grad.isfinite().all()
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_refusals(form):
    for features in (0, 6, -4):
        with pytest.raises(InvalidInputError, match="multiple of 4"):
            form(features)
    with pytest.raises(InvalidInputError, match="momentum"):
        form(8, momentum=0.0)
    with pytest.raises(InvalidInputError, match="eps"):
        form(8, eps=-1.0)
    with pytest.raises(InvalidInputError, match="8 channels"):
        form(8)(torch.zeros(3, 12))
    with pytest.raises(InvalidInputError, match="more than one value"):
        form(8)(torch.zeros(1, 8))


def test_unknown_whitening():
    with pytest.raises(InvalidInputError, match="cholesky, htorch, gaudet"):
        QuaternionWhiteningBatchNorm(8, whitening="zca")
    with pytest.raises(InvalidInputError, match="cholesky, htorch, gaudet"):
        whitening_matrix(torch.eye(4)[None], "zca")


@pytest.mark.parametrize("form", [QuaternionSplitBatchNorm, QuaternionBatchNorm, QuaternionWhiteningBatchNorm])
def test_products_in_bfloat16_leave_the_statistics_in_float32(form):
    torch.manual_seed(0)
    layer = form(8)
    x = torch.randn(64, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    exact = form(8)
    expected = exact(x.float())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.01, atol=0.01)
    for name, value in layer.named_buffers():
        torch.testing.assert_close(value, dict(exact.named_buffers())[name])
