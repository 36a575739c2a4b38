"""Feed-forward layers of Parcollet's library: objects of its names and shapes, against Hamilton's table."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from qdeploy.models import QuaternionLinear
from qdeploy.models.importers.orkis import convert
from qdeploy.models.quaternion_conv import QuaternionConv2d, QuaternionConvTranspose2d
from qdeploy.models.quaternion_rotation import QuaternionRotationLinear
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .definitions import close, conjugate, drawn, expanded, foreign, hamilton, rotations, weights
from .test_orkis import LSTM, products, state_of

BIAS = drawn(20, seed=8)


def convolutional(name, w, bias=None, **others):
    window = {"stride": 1, "padding": 0, "dilatation": 1, "groups": 1, "output_padding": 0, "rotation": False}
    tensors = w if bias is None else w | {"bias": bias}
    return foreign(name, tensors, **window | others)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("QuaternionLinear", {"init_criterion": "he"}), ("QuaternionLinearAutograd", {"rotation": False})],
)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(name, attributes, bias):
    w, x = weights(3, 5), drawn(4, 7, 12, seed=9)
    layer = foreign(name, w | ({"bias": BIAS} if bias else {}), **attributes)
    converted = convert(nn.Sequential(layer))
    assert isinstance(converted[0], QuaternionLinear)
    expected = hamilton(w, x, lambda part, component: component @ part, axis=2)
    close(converted(x), expected + BIAS if bias else expected)


@pytest.mark.parametrize(
    ("rank", "stride", "padding", "dilation"), [(1, 2, 1, 2), (2, (1, 2), (2, 1), 1), (3, 1, 1, 1)]
)
def test_convolution(rank, stride, padding, dilation):
    w, x = weights(5, 3, *(3, 2, 2)[:rank]), drawn(2, 12, *(9, 6, 4)[:rank], seed=9)
    layer = convolutional("QuaternionConv", w, BIAS, stride=stride, padding=padding, dilatation=dilation)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    expected = hamilton(w, x, lambda part, component: convolve(component, part, None, stride, padding, dilation))
    close(convert(layer)(x), expected + BIAS.reshape(-1, *[1] * rank))


def test_transposed_convolution_multiplies_by_the_conjugate():
    w, x = weights(3, 5, 3, 2), drawn(2, 12, 5, 4, seed=9)
    layer = convolutional("QuaternionTransposeConv", w, BIAS, stride=2, padding=1, output_padding=1)
    converted = convert(layer)
    assert isinstance(converted, QuaternionConvTranspose2d)

    def apply(part, component):
        return functional.conv_transpose2d(component, part, None, 2, 1, 1)

    close(converted(x), hamilton(conjugate(w), x, apply) + BIAS.reshape(-1, 1, 1))
    assert float((converted(x).detach() - hamilton(w, x, apply) - BIAS.reshape(-1, 1, 1)).abs().max()) > 1


@pytest.mark.parametrize("transposed", [False, True])
def test_groups_cut_the_rows_of_the_expanded_kernel(transposed):
    """No set of quaternions: a real grouped convolution of twice the channels."""
    w, x = weights(4, 3, 3, 3), drawn(2, 16 if transposed else 24, 6, 5, seed=9)
    if transposed:
        # torch takes inputs first: the rows of L(w) are inputs here.
        layer = convolutional("QuaternionTransposeConv", w, groups=2)
        expected = functional.conv_transpose2d(x, expanded(w), groups=2)
    else:
        layer = convolutional("QuaternionConv", w, groups=2)
        expected = functional.conv2d(x, expanded(w), groups=2)
    converted = convert(layer)
    assert converted.groups == 2
    close(converted(x), expected)


def turned(w):
    return {name: tensor.transpose(0, 1) for name, tensor in w.items()}


@pytest.mark.parametrize("scaled", [False, True])
def test_rotations(scaled):
    w, x, scale = weights(3, 5), drawn(4, 12, seed=9), drawn(3, 5, seed=7)
    tensors = w | {"bias": BIAS, "zero_kernel": torch.zeros(3, 5)} | ({"scale_param": scale} if scaled else {})
    layer = foreign("QuaternionLinearAutograd", tensors, rotation=True, quaternion_format=True)
    converted = convert(nn.Sequential(layer))
    assert isinstance(converted[0], QuaternionRotationLinear)
    expected = rotations(turned(w), x[:, :, None], scale=scale.T if scaled else None)[:, :, 0]
    close(converted(x), expected + BIAS)


@pytest.mark.parametrize(("size", "groups"), [((2, 2), 1), ((2,), 1), ((2, 1, 2), 1), ((2, 2), 5)])
def test_convolutions_of_rotations(size, groups):
    """Every tap turns what it sees; with groups, the rows of the expanded kernel are cut."""
    w, scale = weights(5, 3, *size), drawn(5, 3, *size, seed=7)
    tensors = w | {"scale_param": scale, "zero_kernel": torch.zeros(5, 3, *size)}
    layer = convolutional("QuaternionConv", tensors, BIAS, rotation=True, quaternion_format=True, groups=groups)
    x = drawn(2, 12 * groups, *size, seed=9)
    kernel = torch.zeros(20, 12, *size)
    for tap in itertools.product(*(range(length) for length in size)):
        here = {name: part[(..., *tap)] for name, part in w.items()}
        # One input channel after the other gives the columns.
        kernel[(..., *tap)] = rotations(here, torch.eye(12)[:, :, None], scale=scale[(..., *tap)])[:, :, 0].T
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[len(size) - 1]
    close(convert(layer)(x), convolve(x, kernel, BIAS, groups=groups))


def test_the_published_lstm():
    parts = products(LSTM)
    state = state_of(parts)
    network = foreign("QLSTM", {})
    for name, part in parts.items():
        setattr(network, name, part)
    network.fco = nn.Linear(12, 5)
    network.load_state_dict(state)
    x = drawn(6, 4, 8, seed=5)
    h = c = torch.zeros(4, 12)
    outputs = []
    with torch.no_grad():
        for step in x:
            f, i, o = (torch.sigmoid(parts[f"w{g}x"](step) + parts[f"u{g}h"](h)) for g in "fio")
            c = i * torch.tanh(parts["wcx"](step) + parts["uch"](h)) + f * c
            h = o * torch.tanh(c)
            outputs.append(network.fco(h))
        close(convert(network)(x), torch.stack(outputs))


def test_the_module_is_copied_and_a_layer_used_twice_stays_one():
    layer = convolutional("QuaternionConv", weights(3, 3, 1, 1), drawn(12))
    model = nn.ModuleDict({"first": layer, "again": nn.Sequential(layer, nn.ReLU())})
    converted = convert(model)
    assert model["first"] is layer
    assert isinstance(converted["first"], QuaternionConv2d)
    assert converted["first"] is converted["again"][0]
    assert not converted.training


def test_pruned_components_are_masked():
    w = weights(3, 5)
    masked = {name: tensor * (tensor > 0) for name, tensor in w.items()}
    tensors = {f"{name}_orig": tensor for name, tensor in w.items()}
    layer = foreign(
        "QuaternionLinear", tensors, {f"{name}_mask": (tensor > 0).float() for name, tensor in w.items()},
        init_criterion="he", **dict(w),
    )  # fmt: skip
    x = drawn(4, 12, seed=9)
    close(convert(layer)(x), hamilton(masked, x, lambda part, component: component @ part))


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (
            convolutional("QuaternionTransposeConv", weights(3, 3, 1, 1), rotation=True),
            UnsupportedModelError,
            "its own forward pass|library's own forward pass",
        ),
        (
            foreign("QuaternionLinearAutograd", weights(3, 3), rotation=True, quaternion_format=False),
            UnsupportedModelError,
            "vectors of three",
        ),
        (
            foreign(
                "QuaternionLinearAutograd",
                weights(3, 3) | {"zero_kernel": torch.ones(3, 3)},
                rotation=True,
                quaternion_format=True,
            ),
            InvalidFileError,
            "zero_kernel is not zero",
        ),
        (foreign("QuaternionLinear", weights(3, 3)), UnsupportedModelError, "has not the attributes"),
        (nn.Linear(4, 4), UnsupportedModelError, "found no layer of Pytorch-Quaternion"),
        (convolutional("QuaternionConv", weights(3, 3)), InvalidFileError, "one, two or three spatial dimensions"),
        (
            convolutional("QuaternionConv", weights(3, 3, 1, 1), drawn(5)),
            InvalidFileError,
            r"the bias has the shape \[5\]",
        ),
        (
            convolutional("QuaternionConv", weights(3, 3, 1, 1) | {"k_weight": drawn(3, 3, 1, 2)}),
            InvalidFileError,
            "components of the weight have the shapes",
        ),
        (
            convolutional("QuaternionConv", weights(3, 3, 1, 1) | {"j_weight": torch.full((3, 3, 1, 1), torch.nan)}),
            InvalidFileError,
            "NaN",
        ),
        (convolutional("QuaternionConv", weights(3, 3, 1, 1), groups=5), InvalidFileError, "groups=5"),
        (convolutional("QuaternionConv", weights(3, 3, 1, 1), padding=-1), InvalidFileError, "padding=-1"),
        (
            convolutional("QuaternionConv", weights(3, 3, 1, 1) | {"scale_param": drawn(3)}),
            UnsupportedModelError,
            "has the tensors scale_param",
        ),
    ],
)
def test_what_does_not_fit_is_refused(layer, error, words):
    with pytest.raises(error, match=words):
        convert(nn.Sequential(layer))
