"""hTorch's layers: objects of its names and shapes, against Hamilton's table."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from qdeploy.models.importers.htorch import convert
from qdeploy.models.quaternion_conv import QuaternionConv1d, QuaternionConv2d
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .definitions import close, conjugate, drawn, expanded, foreign, hamilton, weights

IN, OUT = 3, 5
BIAS = drawn(4 * OUT, seed=8)


def layer(name, w, bias=None, **others):
    window = {
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
        "output_padding": 0,
        "spinor": False,
        "in_channels": IN,
    }
    return foreign(name, w if bias is None else w | {"bias": bias}, **window | others)


def first_two_exchanged(w):
    return {name: tensor.transpose(0, 1) for name, tensor in w.items()}


def test_linear():
    w, x = weights(IN, OUT), drawn(4, 12, seed=9)
    close(convert(layer("QLinear", w, BIAS))(x), hamilton(w, x, lambda part, component: component @ part) + BIAS)


@pytest.mark.parametrize(
    ("name", "kernel", "size", "made"),
    [
        ("QConv1d", (3,), (9,), QuaternionConv1d),
        ("QConv2d", (3, 2), (9, 6), QuaternionConv2d),
        ("QConv3d", (2, 2), (9, 6), QuaternionConv2d),
    ],
)
def test_convolutions_have_inputs_first(name, kernel, size, made):
    w, x = weights(IN, OUT, *kernel), drawn(2, 12, *size, seed=9)
    converted = convert(layer(name, w, BIAS, stride=2, padding=1))
    assert isinstance(converted, made)
    convolve = functional.conv1d if len(kernel) == 1 else functional.conv2d
    expected = hamilton(w, x, lambda part, component: convolve(component, part.transpose(0, 1), None, 2, 1))
    close(converted(x), expected + BIAS.reshape(-1, *[1] * len(kernel)))


def test_groups_cut_the_rows_of_the_expanded_kernel():
    w, x = weights(IN, 4, 2, 2), drawn(2, 24, 6, 5, seed=9)
    expected = functional.conv2d(x, expanded(first_two_exchanged(w)), groups=2)
    close(convert(layer("QConv2d", w, groups=2))(x), expected)


def test_a_transposed_convolution_takes_what_it_is_said_to_give():
    """[in, out] of L(w), turned round and read as inputs first: conj(w) of 5 input and 3 output quaternions."""
    w, x = weights(IN, OUT, 3, 3), drawn(2, 4 * OUT, 6, 5, seed=9)

    def apply(part, component):
        return functional.conv_transpose2d(component, part.transpose(0, 1), None, 2, 1, 1)

    found = convert(layer("QConvTranspose2d", w, stride=2, padding=1, output_padding=1))(x)
    close(found, hamilton(conjugate(w), x, apply))


def test_a_transposed_convolution_exchanges_groups_and_dilation():
    w = weights(IN, IN, 3, 3)
    kernel = expanded(first_two_exchanged(w))
    x = drawn(2, 12, 6, 5, seed=9)
    close(convert(layer("QConvTranspose2d", w, groups=2))(x), functional.conv_transpose2d(x, kernel, dilation=2))
    close(convert(layer("QConvTranspose2d", w, dilation=2))(x), functional.conv_transpose2d(x, kernel, groups=2))


def norm(*, affine=True, eps=1e-5, **changes):
    rows = drawn(IN, 4, 9, seed=3)
    tensors = {"weight": drawn(4, 4, IN, seed=4), "bias": drawn(4, IN, seed=5)} if affine else {}
    buffers = {
        "eye": torch.diag(torch.full((4,), eps))[None],
        "running_mean": drawn(4, IN, seed=6),
        "running_cov": rows @ rows.mT / 9,
    }
    return foreign("QBatchNorm2d", tensors, buffers | changes)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalization(affine):
    given = norm(affine=affine, eps=1e-3)
    x = drawn(2, 12, 5, 4, seed=9)
    centred = x.reshape(2, 4, IN, 5, 4) - given.running_mean[None, :, :, None, None]
    expected = torch.empty_like(centred)
    for channel in range(IN):
        upper = torch.linalg.cholesky(given.running_cov[channel] + given.eye[0]).T
        # Solved for, not multiplied by.
        whitened = torch.linalg.solve(upper, centred[:, :, channel].transpose(0, 1).reshape(4, -1))
        if affine:
            whitened = given.weight[:, :, channel].detach() @ whitened + given.bias[:, channel, None].detach()
        expected[:, :, channel] = whitened.reshape(4, 2, 5, 4).transpose(0, 1)
    close(convert(nn.Sequential(given))(x), expected.reshape(x.shape))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (layer("QConv1d", weights(IN, OUT, 3, 3)), InvalidFileError, "2 dimensions, with which hTorch's QConv1d"),
        (layer("QConv3d", weights(IN, OUT, 3, 3, 3)), InvalidFileError, "expected 2"),
        (layer("QAutogradConv2d", weights(IN, OUT, 3, 3)), UnsupportedModelError, "experimental autograd"),
        (layer("QConvTranspose3d", weights(IN, OUT, 3, 3, 3)), UnsupportedModelError, "takes no volume"),
        (foreign("QMaxPool2d", {}), UnsupportedModelError, "maxima by the quaternions' norms"),
        (foreign("QModReLU", {"bias": torch.zeros(1)}), UnsupportedModelError, "use ReLU"),
        (foreign("QLinear", weights(3, 3), n_neurons=3), UnsupportedModelError, "has not the attributes of hTorch's"),
        (norm(running_cov=torch.zeros(IN, 4, 4), eye=torch.zeros(1, 4, 4)), InvalidFileError, "not positive definite"),
        (norm(eye=torch.ones(1, 4, 4)), InvalidFileError, "one number on its diagonal"),
        (norm(running_cov=torch.zeros(4, 4, IN)), InvalidFileError, r"running_cov has the shape \[4, 4, 3\]"),
    ],
)
def test_what_does_not_fit_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        convert(nn.Sequential(given))
