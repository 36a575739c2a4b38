from __future__ import annotations

import pytest
import torch

from qdeploy.models.quaternion_linear import hamilton_matrix
from qdeploy.models.quaternion_rotation import (
    QuaternionRotationConv1d,
    QuaternionRotationConv2d,
    QuaternionRotationLinear,
    rotation_matrix,
)
from qdeploy.runtime.errors import InvalidInputError


def turned(w, x):
    """w x conj(w) / |w|^2 of two quaternions [4], by two Hamilton products."""
    conjugate = w * torch.tensor([1.0, -1, -1, -1], dtype=w.dtype)
    left = hamilton_matrix(*(part.reshape(1, 1) for part in w)) @ x
    return hamilton_matrix(*(part.reshape(1, 1) for part in left)) @ conjugate / (w @ w)


@pytest.mark.parametrize("normalization", ["orkis", "speechbrain"])
def test_a_layer_sums_rotations(normalization):
    torch.manual_seed(0)
    layer = QuaternionRotationLinear(8, 12, normalization=normalization).double()
    with torch.no_grad():
        for component in layer.components():
            # The 0.0001 of the normalization is nothing beside these.
            component.mul_(1e4)
        layer.bias.normal_()
    x = torch.randn(4, 2, dtype=torch.float64)
    x[0] = 0
    expected = layer.bias.detach().reshape(4, 3).clone()
    for row in range(3):
        for column in range(2):
            w = torch.stack([component[row, column] for component in layer.components()])
            expected[:, row] += layer.scale[row, column] * turned(w, x[:, column])
    torch.testing.assert_close(layer(x.flatten()), expected.flatten(), atol=1e-7, rtol=1e-7)


def test_the_real_part_is_not_read():
    layer = QuaternionRotationLinear(8, 4, bias=False)
    x = torch.randn(5, 8)
    other = x.clone()
    other[:, :2] = 9
    assert torch.equal(layer(x), layer(other))
    assert not layer(x)[:, 0].any()


@pytest.mark.parametrize(
    ("normalization", "norm"), [("orkis", (0.0016 + 0.0001) ** 0.5), ("speechbrain", 0.04 + 0.0001)]
)
def test_tiny_quaternions_turn_less(normalization, norm):
    # i alone, of length 0.04: i is kept, j and k turn by nearly a half turn.
    w = [torch.tensor([[value]], dtype=torch.float64) for value in (0.0, 0.04, 0.0, 0.0)]
    matrix = rotation_matrix(*w, None, normalization)
    turn = 1 - 2 * (0.04 / norm) ** 2
    expected = torch.diag(torch.tensor([0, 1, turn, turn], dtype=torch.float64))
    torch.testing.assert_close(matrix, expected)


def test_the_conjugate_turns_back():
    w = torch.randn(4, 3, 3)
    forth = rotation_matrix(*w, None, "orkis")
    back = rotation_matrix(w[0], -w[1], -w[2], -w[3], None, "orkis")
    assert torch.allclose(back.reshape(4, 3, 4, 3).transpose(0, 2).reshape(12, 12), forth, atol=1e-6)


@pytest.mark.parametrize(("layer", "size"), [(QuaternionRotationConv1d, (7,)), (QuaternionRotationConv2d, (7, 6))])
@pytest.mark.parametrize("scale", [False, True])
def test_a_convolution_turns_at_every_tap(layer, size, scale):
    module = layer(8, 12, 3, padding=1, stride=2, scale=scale)
    kernel = module.matrix()
    assert kernel.shape == (12, 8, *[3] * len(size))
    for tap in [(0,) * len(size), (2,) * len(size)]:
        place = (slice(None), slice(None), *tap)
        parts = [component[place] for component in module.components()]
        alone = rotation_matrix(*parts, module.scale[place] if scale else None, "orkis")
        assert torch.equal(kernel[place], alone)
    convolve = torch.nn.functional.conv1d if len(size) == 1 else torch.nn.functional.conv2d
    x = torch.randn(2, 8, *size)
    assert torch.equal(module(x), convolve(x, kernel, module.bias, 2, 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: QuaternionRotationLinear(6, 8), "in_features=6"),
        (lambda: QuaternionRotationLinear(8, 8, normalization="unit"), "normalization='unit'"),
        (lambda: QuaternionRotationConv1d(8, 8, (3, 3)), "expected an integer or 1 integers"),
        (lambda: rotation_matrix(*[torch.ones(1, 1)] * 4, None, "none"), "normalization='none'"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(InvalidInputError, match=words):
        make()
