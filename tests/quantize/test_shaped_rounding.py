from __future__ import annotations

import numpy as np
import pytest
import torch

from qdeploy.models.phases import Phases, orthogonal_with_phases
from qdeploy.models.quantizer import grid_integers
from qdeploy.models.shaped_to_grid import shaped_to_grid
from qdeploy.quantize.shaped_rounding import best_step, is_orthogonal, nearest_rounding, shaped_rounding
from qdeploy.runtime.errors import InvalidInputError

SIZE = 48


@pytest.fixture(scope="module")
def weight():
    torch.manual_seed(0)
    return orthogonal_with_phases(Phases().angles(SIZE // 2)).double().numpy()


def symmetric(weight, bits):
    top = (1 << (bits - 1)) - 1
    return weight, np.abs(weight).max() / top, -top, top


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_shaping_keeps_the_eigenvalues_that_rounding_moves(weight, bits):
    arguments = symmetric(weight, bits)
    near, nearest = nearest_rounding(*arguments)
    integers, shaped = shaped_rounding(*arguments)
    assert shaped.modulus_error < nearest.modulus_error / 4
    assert shaped.phase_error < nearest.phase_error
    assert nearest.moved == 0
    assert shaped.moved == (near != integers).sum() > 0
    step = arguments[1]
    assert np.abs(integers * step - weight).max() <= step * (1 + 1e-9)
    moduli = np.log(np.abs(np.linalg.eigvals(integers * step)))
    assert np.sqrt((moduli**2).mean()) == pytest.approx(shaped.modulus_error, rel=1e-6)
    # What it is for: powers that stay bounded where those of the nearest rounding do not.
    powers = [np.linalg.norm(np.linalg.matrix_power(n * step, 784), 2) for n in (near, integers)]
    assert 1 / shaped.condition**2 < powers[1] < shaped.condition**2 * np.exp(784 * 4 * shaped.modulus_error)
    assert abs(np.log(powers[1])) < abs(np.log(powers[0])) / 2


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_grid_of_q_k_takes_the_latent_weight_to_these_integers(weight, bits, sign):
    # Of either sign of the largest entry.
    turned = torch.from_numpy(weight * sign).float()
    latent = shaped_to_grid(turned, bits)
    integers, alpha = grid_integers(latent, bits)
    assert alpha <= turned.abs().max()
    step = float(alpha) / (1 << (bits - 1))
    inside = turned.abs() < alpha
    assert float((integers * step - turned)[inside].abs().max()) <= step * (1 + 1e-5)
    levels = 1 << (bits - 1)
    assert (integers[turned >= alpha] == levels - 1).all()
    assert (integers[turned <= -alpha] == -levels).all()
    moduli = np.log(np.abs(np.linalg.eigvals(integers.double().numpy() * step)))
    near, _ = grid_integers(turned, bits)
    nearest = np.log(np.abs(np.linalg.eigvals(near.double().numpy() * step)))
    assert np.sqrt((moduli**2).mean()) < np.sqrt((nearest**2).mean()) / 4


def test_rounding_is_repeatable_and_leaves_what_is_pinned(weight):
    first, _ = shaped_rounding(*symmetric(weight, 4))
    second, _ = shaped_rounding(*symmetric(weight, 4))
    assert (first == second).all()
    pinned = np.zeros(weight.shape, bool)
    pinned[:, ::2] = True
    kept, report = shaped_rounding(*symmetric(weight, 4), pinned=pinned)
    near, _ = nearest_rounding(*symmetric(weight, 4))
    assert (kept[pinned] == near[pinned]).all()
    assert report.moved > 0


def test_best_step_errs_least(weight):
    def error(step, low, high):
        return ((np.clip(np.rint(weight / step), low, high) * step - weight) ** 2).sum()

    for low, high in ((-4, 3), (-8, 7), (-127, 127)):
        largest = np.abs(weight).max() / -low
        best = best_step(weight, low, high)
        assert 0 < best <= largest
        others = min(error(largest * part, low, high) for part in (1.0, 0.9, 0.7, 0.5))
        # One of these may be the best step itself, but for the last bits: processors sum in different orders.
        assert error(best, low, high) <= others * (1 + 1e-12)
    # Few bits are better spent on the many entries than on the largest.
    assert best_step(weight, -4, 3) < 0.9 * np.abs(weight).max() / 4


def test_small_matrices_are_rounded_to_nearest():
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert (shaped_rounding(*symmetric(rotation, 4))[0] == nearest_rounding(*symmetric(rotation, 4))[0]).all()


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.full((4, 4), np.nan), np.eye(4) * 0.5, np.eye(1)])
def test_what_cannot_be_rounded(matrix):
    with pytest.raises(InvalidInputError, match="expected a finite orthogonal"):
        shaped_rounding(matrix, 0.1, -7, 7)


def test_orthogonal_is_what_it_says(weight):
    assert is_orthogonal(weight)
    assert not is_orthogonal(weight * 1.02)
    assert not is_orthogonal(weight[:, 1:])
    with pytest.raises(InvalidInputError, match="expected a step above 0"):
        shaped_rounding(weight, 0.0, -7, 7)
