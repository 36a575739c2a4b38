"""Quaternion convolutions against the Hamilton product, tap by tap."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from qdeploy.models.quaternion_conv import (
    QuaternionConv1d,
    QuaternionConv2d,
    QuaternionConv3d,
    QuaternionConvTranspose1d,
    QuaternionConvTranspose2d,
    QuaternionConvTranspose3d,
)
from qdeploy.runtime.errors import InvalidInputError


def hamilton_product(w: Tensor, x: Tensor) -> Tensor:
    """w (x) x of quaternions [4, ...], from the multiplication table of 1, i, j, k."""
    a, b, c, d = w
    e, f, g, h = x
    return torch.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ]
    )


def by_definition(layer: QuaternionConv2d, x: Tensor) -> Tensor:
    """Every output quaternion as a sum of products, in loops."""
    batch, channels, height, width = x.shape
    weights = torch.stack(list(layer.components()))  # [4, out/4, in/4/groups, kh, kw]
    quaternions = x.reshape(batch, 4, channels // 4, height, width)
    padded = nn.functional.pad(quaternions, [layer.padding[1], layer.padding[1], layer.padding[0], layer.padding[0]])
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    rows = (padded.shape[3] - reach[0]) // layer.stride[0] + 1
    columns = (padded.shape[4] - reach[1]) // layer.stride[1] + 1
    _, outputs, inputs, *_ = weights.shape
    y = torch.zeros(batch, 4, outputs, rows, columns, dtype=x.dtype)
    for b, o, row, column in itertools.product(range(batch), range(outputs), range(rows), range(columns)):
        first = o // (outputs // layer.groups) * inputs
        for i, m, n in itertools.product(range(inputs), range(layer.kernel_size[0]), range(layer.kernel_size[1])):
            taken = padded[
                b,
                :,
                first + i,
                row * layer.stride[0] + m * layer.dilation[0],
                column * layer.stride[1] + n * layer.dilation[1],
            ]
            y[b, :, o, row, column] += hamilton_product(weights[:, o, i, m, n], taken)
    y = y.reshape(batch, 4 * outputs, rows, columns)
    return y if layer.bias is None else y + layer.bias[:, None, None]


@pytest.mark.parametrize(
    ("groups", "stride", "padding", "dilation"), [(1, 1, 1, 1), (1, (2, 1), (0, 2), 1), (2, 1, 1, (1, 2)), (4, 2, 1, 1)]
)
def test_convolution_is_sum_of_hamilton_products(groups, stride, padding, dilation):
    torch.manual_seed(groups)
    layer = QuaternionConv2d(16, 32, (3, 2), stride, padding, dilation, groups).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), by_definition(layer, x))


def test_other_dimensions_agree_with_two():
    torch.manual_seed(0)
    line, plane, space = QuaternionConv1d(8, 12, 3, 2, 1), QuaternionConv2d(8, 12, (3, 1), (2, 1), (1, 0)), None
    space = QuaternionConv3d(8, 12, (1, 3, 1), (1, 2, 1), (0, 1, 0))
    for flat, *others in zip(line.components(), plane.components(), space.components(), strict=True):
        others[0].data = flat.data[..., None]
        others[1].data = flat.data[:, :, None, :, None]
    x = torch.randn(2, 8, 7)
    with torch.no_grad():
        expected = line(x)
        torch.testing.assert_close(plane(x[..., None])[..., 0], expected)
        torch.testing.assert_close(space(x[:, :, None, :, None])[:, :, 0, :, 0], expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_is_adjoint_for_conjugated_weights(groups):
    torch.manual_seed(1)
    forward = QuaternionConv2d(8, 16, 3, 2, 1, groups=groups, bias=False).double()
    back = QuaternionConvTranspose2d(16, 8, 3, 2, 1, output_padding=1, groups=groups, bias=False).double()
    for sign, ours, theirs in zip((1, -1, -1, -1), back.components(), forward.components(), strict=True):
        ours.data = sign * theirs.data
    x = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    y = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close((forward(x) * y).sum(), (x * back(y)).sum())


def test_transposed_convolution_of_one_pixel_is_its_kernel():
    layer = QuaternionConvTranspose2d(4, 4, 3)
    nn.init.normal_(layer.bias)
    x = torch.tensor([0.5, -1.0, 2.0, 0.25])
    with torch.no_grad():
        y = layer(x.reshape(1, 4, 1, 1))[0] - layer.bias[:, None, None]
        for m, n in itertools.product(range(3), range(3)):
            w = torch.stack([component[0, 0, m, n] for component in layer.components()])
            torch.testing.assert_close(y[:, m, n], hamilton_product(w, x))


def test_transposed_convolutions_of_other_dimensions():
    torch.manual_seed(2)
    line = QuaternionConvTranspose1d(8, 4, 3, 2, output_padding=1, bias=False)
    space = QuaternionConvTranspose3d(8, 4, (3, 1, 1), (2, 1, 1), output_padding=(1, 0, 0), bias=False)
    for flat, other in zip(line.components(), space.components(), strict=True):
        other.data = flat.data[..., None, None]
    x = torch.randn(1, 8, 4)
    with torch.no_grad():
        torch.testing.assert_close(space(x[..., None, None])[..., 0, 0], line(x))
    assert line(x).shape == (1, 4, 10)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"in_channels": 6}, "in_channels=6"),
        ({"out_channels": 0}, "out_channels=0"),
        ({"groups": 3}, "groups=3"),
        ({"kernel_size": 0}, "kernel_size=0"),
        ({"stride": (1, 1, 1)}, "stride="),
        ({"padding": -1}, "padding=-1"),
    ],
)
def test_bad_arguments(arguments, word):
    with pytest.raises(InvalidInputError, match=word):
        QuaternionConv2d(**{"in_channels": 8, "out_channels": 8, "kernel_size": 3, **arguments})


def test_bad_inputs():
    with pytest.raises(InvalidInputError, match="expected \\[B, 8\\]"):
        QuaternionConv2d(8, 8, 3)(torch.zeros(1, 4, 8, 8))
    with pytest.raises(InvalidInputError, match="output_padding"):
        QuaternionConvTranspose2d(8, 8, 3, output_padding=1)


def test_initial_weights_keep_variance():
    torch.manual_seed(0)
    layer = QuaternionConv2d(64, 64, 3, padding=1)
    with torch.no_grad():
        y = layer(torch.randn(8, 64, 16, 16).relu() * 2**0.5)
    # Two: He's factor, since relu halves the power that the next layer sees; here the input's power is 1.
    assert 1.5 < float(y[:, :, 2:-2, 2:-2].var()) < 2.5
