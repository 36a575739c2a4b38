"""SpeechBrain's layers without a state: objects of its names and shapes, against Hamilton's table and its padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from qdeploy.models.importers.speechbrain import convert
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .definitions import close, conjugate, drawn, expanded, foreign, hamilton, rotations, weights

BIAS = drawn(20, seed=8)


def linear(w, bias=None, **others):
    attributes = {"spinor": False, "max_norm": None, "n_neurons": 5} | others
    return foreign("QLinear", w if bias is None else w | {"bias": bias}, **attributes)


def convolutional(w, bias=None, **others):
    rank = w["r_weight"].dim() - 2
    attributes = {"stride": 1, "dilation": 1, "padding": "same", "groups": 1, "padding_mode": "reflect"}
    attributes |= {"spinor": False, "max_norm": None} | ({"swap": False, "skip_transpose": False} if rank == 2 else {})
    return foreign(f"QConv{rank}d", w if bias is None else w | {"bias": bias}, **attributes | others)


@pytest.mark.parametrize("shape", [(4,), (2, 7), (2, 3, 5)])
def test_linear(shape):
    w, x = weights(3, 5), drawn(*shape, 12, seed=9)
    close(convert(linear(w, BIAS))(x), hamilton(w, x, lambda part, component: component @ part, axis=-1) + BIAS)


def test_a_bias_that_needs_no_gradient_is_asked_about():
    layer = linear(weights(3, 5), BIAS)
    layer.bias.requires_grad_(False)
    with pytest.raises(UnsupportedModelError, match="leaves it out"):
        convert(layer)
    layer.bias.data.zero_()
    x = drawn(4, 12, seed=9)
    close(convert(layer)(x), hamilton(weights(3, 5), x, lambda part, component: component @ part))


def test_max_norm_shrinks_the_weights_by_their_moduli():
    w, x = weights(3, 5), drawn(4, 12, seed=9)
    modulus = sum(part**2 for part in w.values()).sqrt()
    norms = (modulus**2).sum(1, keepdim=True).sqrt()
    assert float(norms.min()) < 1.5 < float(norms.max())
    shrunk = {name: part * (1.5 / norms).clamp(max=1) for name, part in w.items()}
    close(convert(linear(w, max_norm=1.5))(x), hamilton(shrunk, x, lambda part, component: component @ part))


@pytest.mark.parametrize(
    ("attributes", "pads"),
    [
        ({}, (1, 1)),
        ({"dilation": 2}, (2, 2)),
        # With a stride, half the kernel whatever the dilation is.
        ({"stride": 2, "dilation": 3}, (1, 1)),
        ({"padding": "causal", "dilation": 2}, (4, 0)),
        ({"padding": "valid"}, (0, 0)),
        ({"padding_mode": "constant"}, (1, 1)),
    ],
)
def test_one_dimension(attributes, pads):
    w, x = weights(5, 3, 3), drawn(2, 15, 12, seed=9)
    mode = "reflect" if attributes.get("padding", "same") == "same" and "padding_mode" not in attributes else "constant"
    padded = functional.pad(x.transpose(1, 2), pads, mode)
    stride, dilation = attributes.get("stride", 1), attributes.get("dilation", 1)
    expected = hamilton(
        w, padded, lambda part, component: functional.conv1d(component, part, None, stride, 0, dilation)
    )
    close(convert(convolutional(w, BIAS, **attributes))(x), expected.transpose(1, 2) + BIAS)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(("stride", "pads"), [((1, 1), (1, 2)), ((2, 2), (1, 2)), ((1, 2), (1, 2))])
def test_two_dimensions(swap, stride, pads):
    """[B, T, F, C]: a kernel of 3 x 5 whose first axis goes over F, over T with swap; the first stride is that of both."""
    w, x = weights(5, 3, 3, 5), drawn(2, 9, 11, 12, seed=9)
    given = convolutional(w, BIAS, stride=stride, dilation=(1, 1), swap=swap)
    # Channels first, the axes as the library has them: [B, C, F, T], with swap [B, C, T, F].
    arranged = x.permute(0, 3, 1, 2) if swap else x.permute(0, 3, 2, 1)
    padded = functional.pad(arranged, (pads[1], pads[1], pads[0], pads[0]), "reflect")
    out = hamilton(w, padded, lambda part, component: functional.conv2d(component, part, None, stride[0]))
    expected = out.permute(0, 2, 3, 1) if swap else out.permute(0, 3, 2, 1)
    close(convert(given)(x), expected + BIAS)


def test_groups_cut_the_rows_of_the_expanded_kernel():
    w, x = weights(6, 2, 3), drawn(2, 9, 24, seed=9)
    expected = functional.conv1d(x.transpose(1, 2), expanded(w), groups=3).transpose(1, 2)
    close(convert(convolutional(w, groups=3, padding="valid"))(x), expected)


@pytest.mark.parametrize("scaled", [False, True])
def test_spinors(scaled):
    """A QLinear turns by the conjugate and takes another small number into the length than a convolution."""
    w, x, scale = weights(3, 5), drawn(4, 12, seed=9), drawn(3, 5, seed=7)
    more = {"zero_kernel": torch.zeros(3, 5)} | ({"scale_param": scale} if scaled else {})
    turned = conjugate({name: part.T for name, part in w.items()})
    expected = rotations(turned, x[:, :, None], scale=scale.T if scaled else None, outside=True)[:, :, 0]
    close(convert(linear(w | more, BIAS, spinor=True))(x), expected + BIAS)
    # One tap.
    flat = {name: part.T[:, :, None] for name, part in (w | more).items()}
    signal = drawn(2, 6, 12, seed=9)
    plain = {name: part.T for name, part in w.items()}
    expected = rotations(plain, signal.transpose(1, 2), scale=scale.T if scaled else None).transpose(1, 2)
    close(convert(convolutional(flat, BIAS, spinor=True))(signal), expected + BIAS)


def norm(**others):
    buffers = {
        "running_mean": drawn(12, seed=3),
        "running_var": drawn(3, seed=4).abs(),
        "num_batches_tracked": torch.tensor(4),
    }
    return foreign(
        "QBatchNorm",
        {"gamma": drawn(3, seed=5), "beta": drawn(12, seed=6)},
        buffers,
        **{"eps": 1e-4, "dim": -1} | others,
    )


def test_batch_normalization():
    given, x = norm(eps=0.01), drawn(2, 7, 12, seed=9)
    scale = (given.gamma / (given.running_var + 0.01).sqrt()).repeat(4)
    close(convert(given)(x), ((x - given.running_mean) * scale + given.beta).detach())


def test_averages_of_components():
    given, x = foreign("QPooling2d", {}, pool_type="avg", pool_axis=(1, 2), pool_layer=None), drawn(2, 6, 8, 12, seed=9)
    given.kernel_size, given.stride, given.padding, given.ceil_mode = (2, 3), (2, 3), 0, False
    found = convert(nn.Sequential(given))(x)
    assert found.shape == (2, 3, 2, 12)
    close(found[1, 2, 1], x[1, 4:6, 3:6].mean(dim=(0, 1)))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (
            convolutional(weights(3, 3, 3, 3), padding="causal"),
            UnsupportedModelError,
            "padding='causal' of 2 dimensions",
        ),
        (convolutional(weights(3, 3, 3, 3), skip_transpose=True), UnsupportedModelError, "gives None"),
        (foreign("QPooling2d", {}, pool_type="max", pool_axis=(1, 2), pool_layer=None), UnsupportedModelError, "norms"),
        (
            convolutional(weights(3, 3, 3, 3) | {"zero_kernel": torch.zeros(3, 3, 3, 3)}, spinor=True),
            UnsupportedModelError,
            "spinor of two dimensions does not run",
        ),
        (norm(dim=1), UnsupportedModelError, "dim=1"),
        (
            foreign("QLinear", weights(3, 3), in_features=3),
            UnsupportedModelError,
            "has not the attributes of SpeechBrain's",
        ),
        (linear(weights(3, 5), drawn(12)), InvalidFileError, r"the bias has the shape \[12\]"),
    ],
)
def test_what_does_not_fit_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        convert(nn.Sequential(given))
