from __future__ import annotations

import numpy as np
import pytest
import torch

from qdeploy.models.phases import Phases, orthogonal_with_phases
from qdeploy.models.quantizer import grid_integers
from qdeploy.models.shaped_rounding import nearest_rounding, shaped_rounding
from qdeploy.runtime.errors import InvalidInputError

SIZE = 48


@pytest.fixture(scope="module")
def weight():
    torch.manual_seed(0)
    return orthogonal_with_phases(Phases().angles(SIZE // 2)).double().numpy()


@pytest.mark.parametrize("bits", [3, 4, 6])
def test_shaping_keeps_the_eigenvalues_that_rounding_moves(weight, bits):
    near, nearest = nearest_rounding(weight, bits)
    latent, shaped = shaped_rounding(weight, bits)
    assert shaped.modulus_error < nearest.modulus_error / 4
    assert shaped.phase_error < nearest.phase_error
    assert shaped.moved > 0
    assert nearest.moved == 0
    # Both are q_k images of their latent weights on one grid, at most one level from the float weight.
    for values in (near, latent):
        integers, alpha = grid_integers(torch.from_numpy(values), bits)
        step = float(alpha) / (1 << (bits - 1))
        assert float(alpha) == pytest.approx(np.abs(weight).max(), rel=1e-6)
        assert np.abs(integers.numpy() * step - weight).max() <= step * (1 + 1e-5)
    integers, alpha = grid_integers(torch.from_numpy(latent), bits)
    rounded = integers.double().numpy() * float(alpha) / (1 << (bits - 1))
    moduli = np.log(np.abs(np.linalg.eigvals(rounded)))
    assert np.sqrt((moduli**2).mean()) == pytest.approx(shaped.modulus_error, rel=1e-3, abs=1e-6)
    # What it is for: powers that stay bounded where those of the nearest rounding do not.
    assert np.linalg.norm(np.linalg.matrix_power(rounded, 784), 2) < 30 * shaped.condition


def test_rounding_is_repeatable_and_reports_progress(weight):
    seen = []
    first, _ = shaped_rounding(weight[:, :], 4, lambda done, total: seen.append((done, total)))
    second, _ = shaped_rounding(weight, 4)
    assert (first == second).all()
    assert seen[0][0] == 0


def test_small_matrices_are_rounded_to_nearest():
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert (shaped_rounding(rotation, 4)[0] == nearest_rounding(rotation, 4)[0]).all()


@pytest.mark.parametrize(
    ("matrix", "bits", "message"),
    [
        (np.ones((2, 3)), 4, r"found a weight \[2, 3\]"),
        (np.full((4, 4), np.nan), 4, "expected finite"),
        (np.eye(4) * 0.5, 4, "not orthogonal"),
        (np.eye(4), 1, "found 1 bits, expected 2 to 8"),
    ],
)
def test_what_cannot_be_rounded(matrix, bits, message):
    with pytest.raises(InvalidInputError, match=message):
        shaped_rounding(matrix, bits)
