from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qdeploy.models.quantizer import grid_integers, quantize_weight

# Away from denormals and from overflow in W * 2^(k-1): weights of trained networks are of order one.
weights = arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    elements=st.floats(-10, 10).map(lambda value: round(value, 6)),
)
bits = st.integers(1, 8)


def test_four_bits_by_hand():
    # alpha = 1, levels of 1/8: halves go to the even integer, +alpha saturates to 7.
    weight = torch.tensor([1.0, -1.0, 0.0625, 0.1875, -0.0625, 0.9])
    integers, alpha = grid_integers(weight, 4)
    assert alpha == 1.0
    assert integers.tolist() == [7, -8, 0, 2, 0, 7]
    assert quantize_weight(weight, 4).tolist() == [0.875, -1.0, 0.0, 0.25, 0.0, 0.875]


def test_one_bit_is_ternary():
    integers, _ = grid_integers(torch.tensor([3.0, -3.0, 1.4, 1.5, -1.6]), 1)
    assert integers.tolist() == [1, -1, 0, 0, -1]


def test_zeros_stay_zeros():
    assert quantize_weight(torch.zeros(3, 3), 4).tolist() == torch.zeros(3, 3).tolist()


def test_no_bits_gives_the_weight_back():
    weight = torch.randn(3, 3)
    assert quantize_weight(weight, None) is weight


@given(weights, bits)
def test_integers_are_in_range_and_nearest(values, k):
    weight = torch.from_numpy(values)
    integers, alpha = grid_integers(weight, k)
    upper = 1 if k == 1 else 2 ** (k - 1) - 1
    assert int(integers.min()) >= -(2 ** (k - 1))
    assert int(integers.max()) <= upper
    assert torch.equal(integers, integers.round())
    if alpha > 0:
        exact = weight * 2 ** (k - 1) / alpha
        saturated = exact > upper
        assert bool((torch.where(saturated, 0.0, exact - integers).abs() <= 0.5 + 1e-9).all())
        assert bool((integers[saturated] == upper).all())


@given(weights, bits)
def test_minus_the_weight_differs_only_where_plus_alpha_saturates(values, k):
    weight = torch.from_numpy(values)
    plus, _ = grid_integers(weight, k)
    minus, _ = grid_integers(-weight, k)
    symmetric = (plus != -(2 ** (k - 1))) & (minus != -(2 ** (k - 1)))
    assert torch.equal(plus[symmetric], -minus[symmetric])


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_gradient_passes_straight_through(strength):
    weight = torch.tensor([1.0, -1.0, 0.3], requires_grad=True)
    (quantize_weight(weight, 4, strength) * torch.tensor([2.0, 3.0, 5.0])).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0, 3.0, 5.0]


def test_strength_applies_a_part_of_the_error():
    weight = torch.tensor([1.0, -1.0, 0.3])
    assert torch.equal(quantize_weight(weight, 4, 0.0), weight)
    half = quantize_weight(weight, 4, 0.5)
    assert torch.allclose(half, (weight + quantize_weight(weight, 4)) / 2)
    assert not torch.equal(half, weight)
