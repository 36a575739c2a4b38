from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.models.hypercomplex import PHMConv1d, PHMConv2d, PHMConv3d, PHMLinear, hypercomplex_matrix
from qdeploy.models.quaternion_linear import HAMILTON_ALGEBRA, hamilton_matrix
from qdeploy.runtime.errors import InvalidInputError


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_the_matrix_is_a_sum_of_kronecker_products(n, outputs, inputs, seed):
    # Integers: then equality is exact.
    generator = torch.Generator().manual_seed(seed)
    a = torch.randint(-9, 10, (n, n, n), generator=generator)
    s = torch.randint(-9, 10, (n, outputs, inputs), generator=generator)
    expected = sum(torch.kron(first, second) for first, second in zip(a, s, strict=True))
    assert torch.equal(hypercomplex_matrix(a, s), expected)


def test_quaternions_are_an_algebra():
    s = torch.randn(4, 3, 2)
    assert torch.equal(hypercomplex_matrix(HAMILTON_ALGEBRA, s), hamilton_matrix(*s))
    kernels = torch.randn(4, 3, 2, 3, 3)
    assert torch.equal(hypercomplex_matrix(HAMILTON_ALGEBRA, kernels), hamilton_matrix(*kernels))


@pytest.mark.parametrize(
    ("layer", "size", "convolve"),
    [
        (PHMConv1d, (9,), torch.nn.functional.conv1d),
        (PHMConv2d, (9, 8), torch.nn.functional.conv2d),
        (PHMConv3d, (5, 6, 7), torch.nn.functional.conv3d),
    ],
)
def test_convolutions_multiply_whole_kernels(layer, size, convolve):
    module = layer(2, 4, 6, 3, stride=2, padding=1)
    taps = [
        [sum(module.a[i, p, u] * module.s[i, q, v] for i in range(2)) for u in range(2) for v in range(2)]
        for p in range(2)
        for q in range(3)
    ]
    kernel = torch.stack([torch.stack(row) for row in taps])
    x = torch.randn(2, 4, *size)
    torch.testing.assert_close(module(x), convolve(x, kernel, module.bias, 2, 1))


def test_the_matrix_has_glorots_variance():
    torch.manual_seed(0)
    linear = PHMLinear(4, 400, 200)
    assert linear.matrix().std().item() == pytest.approx(math.sqrt(2 / 600), rel=0.25)
    assert linear.a.std().item() == pytest.approx(0.5, rel=0.25)
    assert linear.bias.abs().max().item() <= 1 / math.sqrt(400)


def test_layers_have_an_nth_of_the_weights():
    linear = PHMLinear(4, 64, 32, bias=False)
    assert sum(parameter.numel() for parameter in linear.parameters()) == 4**3 + 64 * 32 // 4
    assert repr(linear) == "PHMLinear(n=4, 64, 32, bias=False)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PHMLinear(4, 6, 8), "in_features=6: expected a positive multiple of n=4"),
        (lambda: PHMLinear(4, 8, 0), "out_features=0: expected a positive multiple of n=4"),
        (lambda: PHMLinear(0, 8, 8), "n=0: expected a positive number"),
        (lambda: PHMConv2d(2, 4, 4, (3, 3, 3)), "2 integers"),
        (lambda: PHMConv2d(2, 4, 3, 3), "out_channels=3"),
        (lambda: PHMConv1d(2, 4, 4, 3, stride=0), "stride=0"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(InvalidInputError, match=words):
        make()
