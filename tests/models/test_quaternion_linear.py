from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.models.lenet import Lenet300100, QuaternionLenet300100
from qdeploy.models.quaternion_linear import QuaternionLinear, hamilton_matrix
from qdeploy.runtime.errors import InvalidInputError


def multiply(w, x):
    """Hamilton's product of two quaternions, from i i = j j = k k = i j k = -1."""
    a1, b1, c1, d1 = w
    a2, b2, c2, d2 = x
    return (
        a1 * a2 - b1 * b2 - c1 * c2 - d1 * d2,
        a1 * b2 + b1 * a2 + c1 * d2 - d1 * c2,
        a1 * c2 - b1 * d2 + c1 * a2 + d1 * b2,
        a1 * d2 + b1 * c2 - c1 * b2 + d1 * a2,
    )


def test_units():
    one, i, j, k = torch.eye(4).tolist()
    assert multiply(i, j) == tuple(k)
    assert multiply(j, i) == tuple(-value for value in k)
    assert multiply(k, k) == tuple(-value for value in one)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_layer_is_a_matrix_of_hamilton_products(outputs, inputs, seed):
    # Integers: then equality is exact.
    generator = torch.Generator().manual_seed(seed)
    w = torch.randint(-9, 10, (4, outputs, inputs), generator=generator)
    x = torch.randint(-9, 10, (4, inputs), generator=generator)
    expected = torch.zeros(4, outputs, dtype=torch.int64)
    for row in range(outputs):
        for column in range(inputs):
            product = multiply(w[:, row, column].tolist(), x[:, column].tolist())
            expected[:, row] += torch.tensor(product)
    blocked = hamilton_matrix(*w)
    assert torch.equal(blocked @ x.flatten(), expected.flatten())
    # Adjacent inputs are r0 i0 j0 k0 r1 ...: the transposed order of the same numbers.
    adjacent = hamilton_matrix(*w, grouping="adjacent")
    assert torch.equal(adjacent @ x.t().flatten(), expected.flatten())


def test_transpose_is_the_conjugate():
    r, i, j, k = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = hamilton_matrix(r.t(), -i.t(), -j.t(), -k.t())
    assert torch.equal(hamilton_matrix(r, i, j, k).t(), expected)


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
def test_forward_is_the_matrix_product(grouping):
    torch.manual_seed(0)
    layer = QuaternionLinear(8, 12, grouping=grouping)
    with torch.no_grad():
        layer.bias.uniform_()
    inputs = torch.randn(2, 5, 8)
    assert torch.allclose(layer(inputs), inputs @ layer.matrix().t() + layer.bias)
    assert {name: list(value.shape) for name, value in layer.state_dict().items()} == {
        "r_weight": [3, 2],
        "i_weight": [3, 2],
        "j_weight": [3, 2],
        "k_weight": [3, 2],
        "bias": [12],
    }


def test_initial_modulus_is_chi_4():
    torch.manual_seed(0)
    layer = QuaternionLinear(400, 400)
    modulus = torch.stack(tuple(layer.components())).square().sum(dim=0).sqrt() * (2 * 100) ** 0.5
    # chi(4) has mean 1.880 and variance 4 - 1.880^2; 10,000 draws.
    assert modulus.mean().item() == pytest.approx(1.880, abs=0.03)
    assert modulus.var().item() == pytest.approx(4 - 1.880**2, abs=0.03)


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 8), (8, 6), (0, 4), (-4, 4)])
def test_features_must_be_multiples_of_four(inputs, outputs):
    with pytest.raises(InvalidInputError, match="multiple of 4"):
        QuaternionLinear(inputs, outputs)


def test_unknown_grouping_is_refused():
    with pytest.raises(InvalidInputError, match="blocked, adjacent"):
        QuaternionLinear(4, 4, grouping="mixed")


def test_lenets_have_the_published_sizes():
    real, quaternion = Lenet300100(), QuaternionLenet300100()

    def size(module):
        return sum(parameter.numel() for parameter in module.parameters())

    # Published: 266.6K and 67.7K.
    assert size(real) == 266_610
    assert size(quaternion) == 784 * 300 // 4 + 300 + 300 * 100 // 4 + 100 + 1010
    assert round(size(quaternion), -2) == 67_700
    assert quaternion(torch.zeros(2, 784)).shape == real(torch.zeros(2, 784)).shape == (2, 10)
