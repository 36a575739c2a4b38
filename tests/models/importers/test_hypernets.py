"""HyperNets' layers: objects of its names and shapes, against the sum of Kronecker products and Hamilton's table."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from qdeploy.models.hypercomplex import PHMConv2d, PHMLinear
from qdeploy.models.importers.hypernets import convert
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .definitions import close, drawn, foreign, hamilton, weights


def kernel(a, f):
    """The sum of kron(a_i, f_i) at every tap."""
    taps = f.flatten(3) if f.dim() > 3 else f.unsqueeze(3)
    each = [sum(torch.kron(a[n], taps[n, :, :, tap]) for n in range(len(a))) for tap in range(taps.shape[3])]
    return torch.stack(each, dim=2).reshape(*each[0].shape, *f.shape[3:])


@pytest.mark.parametrize("names", [("a", "s"), ("A", "S")])
def test_linear(names):
    a, s, bias = drawn(3, 3, 3), drawn(3, 5, 2, seed=1), drawn(15, seed=2)
    layer = foreign("PHMLinear", dict(zip(names, (a, s), strict=True)) | {"bias": bias}, n=3)
    # What it keeps of a forward pass is part of a graph, which cannot be copied.
    layer.weight = sum(layer.get_parameter(name).sum() for name in names)
    converted = convert(nn.Sequential(layer))
    assert isinstance(converted[0], PHMLinear)
    x = drawn(4, 6, seed=9)
    close(converted(x), x @ kernel(a, s).T + bias)


@pytest.mark.parametrize(("name", "rank"), [("PHConv", 2), ("PHConv1D", 1), ("PHConv2d", 2), ("PHConv3D", 3)])
def test_convolutions_never_add_their_bias(name, rank):
    a, f = drawn(2, 2, 2), drawn(2, 3, 2, *(3, 2, 2)[:rank], seed=1)
    window = {"stride": 2, "padding": 1} | ({"dilation": 2} if name.endswith("1D") else {})
    layer = foreign(name, {"A": a, "F": f, "bias": drawn(6)}, n=2, **window)
    converted = convert(layer)
    assert converted.bias is None
    x = drawn(2, 4, *(9, 6, 5)[:rank], seed=9)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    close(converted(x), convolve(x, kernel(a, f), None, 2, 1, window.get("dilation", 1)))


@pytest.mark.parametrize("first", [False, True])
def test_kronecker_convolution(first):
    w, x = weights(3, 2, 3, 3), drawn(2, 8, 6, 5, seed=9)
    attributes = {"stride": 1, "padding": 1, "dilatation": 1, "groups": 1, "rotation": False, "learn_A": False}
    converted = convert(foreign("KroneckerConv", w, first_layer=first, **attributes))
    used = w | ({"r_weight": torch.zeros_like(w["r_weight"])} if first else {})
    close(converted(x), hamilton(used, x, lambda part, component: functional.conv2d(component, part, None, 1, 1)))


def test_the_quaternion_layers_beside_them():
    model = nn.Sequential(
        foreign("QuaternionLinear", weights(2, 3), init_criterion="he"),
        foreign("PHMLinear", {"A": drawn(2, 2, 2), "S": drawn(2, 2, 6), "bias": drawn(4)}, n=2),
    )
    x = drawn(3, 8, seed=9)
    y = hamilton(weights(2, 3), x, lambda part, component: component @ part)
    close(convert(model)(x), y @ kernel(drawn(2, 2, 2), drawn(2, 2, 6)).T + drawn(4))


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (
            foreign("PHMLinear", {"a": drawn(3, 3, 2), "s": drawn(3, 2, 2)}, n=3),
            InvalidFileError,
            "the algebra has the shape",
        ),
        (
            foreign("PHConv", {"A": drawn(2, 2, 2), "F": drawn(2, 2, 2, 3)}, n=2, stride=1, padding=0),
            InvalidFileError,
            "expected 5 dimensions",
        ),
        (foreign("PHMLinear", {"weight": drawn(2, 2)}, n=2), UnsupportedModelError, "has not the attributes"),
        (
            foreign("KroneckerConv", weights(1, 1, 1, 1), learn_A=False, first_layer=False, rotation=True),
            UnsupportedModelError,
            "gives None",
        ),
    ],
)
def test_what_does_not_fit_is_refused(layer, error, words):
    with pytest.raises(error, match=words):
        convert(layer)


def test_a_convolution_of_two_dimensions_is_ours():
    layer = foreign(
        "PHConv2d", {"A": drawn(2, 2, 2), "F": drawn(2, 1, 1, 1, 1), "bias": drawn(2)}, n=2, stride=1, padding=0
    )
    assert isinstance(convert(layer), PHMConv2d)
