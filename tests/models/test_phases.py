from __future__ import annotations

import math

import pytest
import torch

from qdeploy.models.orthogonal_rnn import OrthogonalRNN
from qdeploy.models.phases import Phases, orthogonal_with_phases
from qdeploy.runtime.errors import InvalidInputError


def test_matrix_is_orthogonal_with_these_eigenvalues():
    torch.manual_seed(0)
    angles = Phases(period=28, length=784, harmonics=3, sidebands=2, spacing=1.4, others_from=1.0).angles(20)
    weight = orthogonal_with_phases(angles).double()
    assert torch.dist(weight @ weight.t(), torch.eye(40, dtype=torch.float64)) < 1e-5
    values = torch.linalg.eigvals(weight)
    found = values.angle()[values.imag > 0].sort().values
    torch.testing.assert_close(found, angles.sort().values, rtol=0, atol=1e-5)


def test_angles_are_sidebands_of_harmonics_and_an_even_rest():
    angles = Phases(period=10, length=100, harmonics=2, sidebands=1, spacing=2.0, others_from=math.pi / 2).angles(6)
    turn = 2 * math.pi
    chosen = [2 / 100, 1 / 10 - 2 / 100, 1 / 10, 1 / 10 + 2 / 100]
    assert angles.tolist() == pytest.approx([turn * part for part in chosen] + [math.pi * 5 / 8, math.pi * 7 / 8])
    assert Phases().angles(3).tolist() == pytest.approx([math.pi / 6, math.pi / 2, math.pi * 5 / 6])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"harmonic": 1}, "unknown keys harmonic; known are period"),
        ({"period": 0}, "period=0, expected a value in"),
        ({"period": 2.5}, "period=2.5, expected an integer"),
        ({"others_from": 4.0}, "others_from=4.0"),
        ({"spacing": True}, "spacing=True, expected a number"),
    ],
)
def test_wrong_fields(values, message):
    with pytest.raises(InvalidInputError, match=message):
        Phases.read(values)


def test_too_many_angles_or_an_odd_size():
    with pytest.raises(InvalidInputError, match=r"4 angles from .*, expected at most 3"):
        Phases(period=28, length=784, harmonics=2, sidebands=1).angles(3)
    with pytest.raises(InvalidInputError, match="phases come in pairs: found hidden_size=5"):
        OrthogonalRNN(1, 5).reset_parameters(phases=Phases())
    with pytest.raises(InvalidInputError, match="choose one"):
        OrthogonalRNN(1, 4).reset_parameters(phases=Phases(), random=True)
