"""qytorch's layers: objects of its names and shapes, against Hamilton's table."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from qdeploy.models.importers.qytorch import convert
from qdeploy.runtime.errors import UnsupportedModelError

from .definitions import close, conjugate, drawn, expanded, foreign, hamilton, weights

BIAS = drawn(20, seed=8)


def layer(name, w, bias=None, **others):
    attributes = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
    attributes |= {"get_weight": None, "in_features": 12, "kernel_size": tuple(w["r_weight"].shape[2:])}
    return foreign(name, w if bias is None else w | {"bias": bias}, **attributes | others)


def test_linear_multiplies_by_the_conjugate():
    w, x = weights(5, 3), drawn(4, 12, seed=9)
    found = convert(layer("QLinear", w, BIAS))(x)
    close(found, hamilton(conjugate(w), x, lambda part, component: component @ part.T) + BIAS)
    assert float((found.detach() - hamilton(w, x, lambda part, component: component @ part.T) - BIAS).abs().max()) > 1


@pytest.mark.parametrize(
    ("mode", "padding", "pads"),
    [
        ("zeros", (1, 2), (2, 2, 1, 1)),
        ("reflect", (1, 2), (2, 2, 1, 1)),
        ("circular", (1, 2), (2, 2, 1, 1)),
        ("replicate", (1, 2), (2, 2, 1, 1)),
        # A kernel of 4 x 3: one in front, two behind; one and one.
        ("zeros", "same", (1, 1, 1, 2)),
        ("reflect", "same", (1, 1, 1, 2)),
        ("zeros", "valid", (0, 0, 0, 0)),
    ],
)
def test_padding(mode, padding, pads):
    w, x = weights(5, 3, 4, 3), drawn(2, 12, 7, 6, seed=9)
    converted = convert(layer("QConv2d", w, BIAS, padding=padding, padding_mode=mode))
    padded = functional.pad(x, pads, "constant" if mode == "zeros" else mode)
    expected = hamilton(conjugate(w), padded, lambda part, component: functional.conv2d(component, part))
    close(converted(x), expected + BIAS.reshape(-1, 1, 1))


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    w, x = weights(5, 3, *(3, 2, 2)[:rank]), drawn(2, 12, *(9, 6, 4)[:rank], seed=9)
    window = {"stride": (2,) * rank, "padding": (1,) * rank, "dilation": (1,) * rank}
    convolve = functional.conv1d if rank == 1 else functional.conv3d
    expected = hamilton(conjugate(w), x, lambda part, component: convolve(component, part, None, 2, 1))
    close(convert(layer(f"QConv{rank}d", w, **window))(x), expected)


def test_groups_cut_the_rows_of_the_expanded_kernel():
    w, x = weights(4, 3, 2, 2), drawn(2, 24, 6, 5, seed=9)
    close(convert(layer("QConv2d", w, groups=2))(x), functional.conv2d(x, expanded(conjugate(w)), groups=2))


def test_attention_is_refused():
    with pytest.raises(UnsupportedModelError, match="softmax has no integer form"):
        convert(nn.Sequential(foreign("QMultiheadAttention", {"weight": torch.zeros(1)})))
