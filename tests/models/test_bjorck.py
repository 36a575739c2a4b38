from __future__ import annotations

import pytest
import torch

from qdeploy.models.bjorck import bjorck_orthogonalize, spectral_norm
from qdeploy.models.orthogonal_rnn import OrthogonalRNN
from qdeploy.models.quantizer import grid_integers


@pytest.mark.parametrize("size", [1, 2, 17, 64])
def test_reaches_the_polar_factor(size):
    generator = torch.Generator().manual_seed(size)
    # Singular values in [0.5, 1.5]: Björck's iteration is slow where they are near zero.
    left, _, right = torch.linalg.svd(torch.randn(size, size, generator=generator, dtype=torch.float64))
    weight = left @ torch.diag(torch.linspace(0.5, 1.5, size, dtype=torch.float64)) @ right
    orthogonal = bjorck_orthogonalize(weight)
    # The iteration stops under 1e-3 and converges quadratically, so that the last error is about 1e-6.
    assert torch.linalg.matrix_norm(orthogonal @ orthogonal.t() - torch.eye(size, dtype=torch.float64)) < 1e-4
    assert torch.linalg.matrix_norm(orthogonal - left @ right) < 1e-4


def test_orthogonal_stays_as_it_is():
    weight = -torch.eye(7).roll(1, dims=0)
    assert torch.allclose(bjorck_orthogonalize(weight), weight, atol=1e-6)


def test_scale_does_not_count():
    weight = torch.randn(9, 9, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(bjorck_orthogonalize(weight), bjorck_orthogonalize(8 * weight), atol=1e-5)


def test_spectral_norm_is_the_largest_singular_value():
    weight = torch.diag(torch.tensor([0.5, 3.0, 1.0]))
    assert spectral_norm(weight).item() == pytest.approx(3.0, rel=1e-5)


def test_gradient_matches_finite_differences():
    # Without the stopping rule, which is a step. The norm's singular vectors are constants of its gradient: exact only
    # where the power iteration has converged, hence a matrix whose largest singular value stands apart.
    weight = torch.diag(torch.tensor([1.0, 0.4, 0.3], dtype=torch.float64))
    weight += 0.05 * torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda matrix: bjorck_orthogonalize(matrix, max_iterations=4, tolerance=0.0), weight, atol=1e-6
    )


def test_layer_is_orthogonal_before_and_on_the_grid_after_quantization():
    torch.manual_seed(0)
    layer = OrthogonalRNN(3, 12, weight_bits=None)
    with torch.no_grad():
        layer.recurrent_weight.copy_(torch.eye(12) + 0.2 * torch.randn(12, 12))
    weight, _ = layer.materialize()
    assert torch.linalg.matrix_norm(weight @ weight.t() - torch.eye(12)) < 1e-2
    layer.weight_bits = 4
    quantized, quantized_input = layer.materialize()
    for latent, found in ((weight, quantized), (layer.input_weight.detach(), quantized_input)):
        integers, alpha = grid_integers(latent, 4)
        assert torch.equal(found, integers * (alpha / 8))
        assert not torch.equal(found, latent)


def test_retract_changes_nothing_but_the_latent_weight():
    torch.manual_seed(0)
    layer = OrthogonalRNN(1, 8)
    with torch.no_grad():
        layer.recurrent_weight.add_(0.1 * torch.randn(8, 8))
    before, latent = layer.materialize()[0], layer.recurrent_weight.detach().clone()
    layer.retract()
    assert not torch.equal(layer.recurrent_weight, latent)
    assert torch.allclose(layer.materialize()[0], before, atol=1e-5)
