"""Networks from state dicts and architecture files, in the layout of each library, against Hamilton's table."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from qdeploy.models.importers.architecture import parse_architecture
from qdeploy.models.importers.foreign import import_foreign
from qdeploy.models.importers.network import build_network, import_network
from qdeploy.models.importers.orkis import orkis_classifier
from qdeploy.models.quaternion_conv import QuaternionConv2d
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from .definitions import close, conjugate, drawn, hamilton, rotations, weights
from .test_orkis import LSTM, products
from .test_orkis import state_of as orkis_state
from .test_speechbrain import QLiGRU


def architecture(library, shape, *layers, **others):
    return {"schema_version": 1, "library": library, "input": list(shape), "layers": list(layers)} | others


def named(prefix, tensors):
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def built(state, description):
    return build_network(state, parse_architecture(description))


def conv2d(part, component):
    return functional.conv2d(component, part)


# hTorch: convolution, batch normalization, a residual branch, pooling, a real last layer.
A, B = weights(2, 4, 3, 3, seed=10), weights(4, 4, 3, 3, seed=20)
BIAS, OUT, OUT_BIAS = drawn(16, seed=30), drawn(10, 64, seed=31) * 0.2, drawn(10, seed=32)
MIXED = drawn(4, 4, 9, seed=33)
NORM = {
    "weight": drawn(4, 4, 4, seed=34),
    "bias": drawn(4, 4, seed=35),
    "eye": torch.eye(4)[None] * 1e-5,
    "running_mean": drawn(4, 4, seed=36),
    "running_cov": MIXED @ MIXED.mT / 9,
}
HTORCH = architecture(
    "htorch",
    (8, 6, 6),
    {"kind": "QConv2d", "name": "features.0", "in_channels": 8, "out_channels": 16, "kernel_size": 3, "activation": "relu"},
    {
        "kind": "Residual",
        "layers": [
            {
                "kind": "QConv2d", "name": "features.1", "in_channels": 16, "out_channels": 16, "kernel_size": 3,
                "padding": 1, "bias": False,
            },
            {"kind": "QBatchNorm2d", "name": "features.2", "num_features": 16},
        ],
        "activation": "relu",
    },
    {"kind": "AvgPool2d", "kernel_size": 2},
    {"kind": "Flatten"},
    {"kind": "Linear", "name": "out", "in_features": 64, "out_features": 10},
    ignored=["step"],
)  # fmt: skip


def htorch_state():
    state = named("features.0", A | {"bias": BIAS}) | named("features.1", B) | named("features.2", NORM)
    return state | {"out.weight": OUT, "out.bias": OUT_BIAS, "step": torch.tensor(7)}


def htorch_forward(x):
    x = hamilton(A, x, lambda part, component: conv2d(part.transpose(0, 1), component)) + BIAS.reshape(-1, 1, 1)
    x = torch.relu(x)
    y = hamilton(B, x, lambda part, component: functional.conv2d(component, part.transpose(0, 1), None, 1, 1))
    centred = y.reshape(len(y), 4, 4, 4, 4) - NORM["running_mean"][:, :, None, None]
    upper = torch.linalg.cholesky(NORM["running_cov"] + NORM["eye"]).mT
    matrix = NORM["weight"].permute(2, 0, 1) @ torch.linalg.inv(upper)
    normalized = torch.einsum("cij,bjchw->bichw", matrix, centred) + NORM["bias"][None, :, :, None, None]
    x = torch.relu(normalized.reshape(y.shape) + x)
    return functional.avg_pool2d(x, 2).flatten(1) @ OUT.T + OUT_BIAS


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_htorch(tmp_path, ending):
    path, description = tmp_path / f"net{ending}", tmp_path / "net.json"
    if ending == ".pt":
        torch.save({"state_dict": htorch_state()}, path)
    else:
        save_file(htorch_state(), path)
    description.write_text(json.dumps(HTORCH))
    network = import_network(path, description)
    x = drawn(3, 8, 6, 6, seed=9)
    close(network(x), htorch_forward(x))
    assert isinstance(network.layers.features_0, QuaternionConv2d)
    assert not network.training
    assert import_foreign(path, description).dataset is None


def test_orkis_with_a_shortcut_of_its_own():
    down, transposed, head = weights(4, 2, 2, 2), weights(4, 2, 3, 3, seed=5), weights(8, 3, seed=6)
    state = named("down", down) | named("up", transposed | {"bias": drawn(8, seed=7)}) | named("head", head)
    window = {"in_channels": 8, "out_channels": 16, "kernel_size": 2, "stride": 2, "bias": False}
    description = architecture(
        "orkis",
        (8, 6, 4),
        {
            "kind": "Residual",
            "layers": [
                {"kind": "QuaternionConv", "name": "down", **window, "activation": "tanh"},
                {
                    "kind": "QuaternionTransposeConv", "name": "up", "in_channels": 16, "out_channels": 8,
                    "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1,
                },
            ],
            "shortcut": [{"kind": "Activation", "activation": "sigmoid"}],
        },
        {"kind": "MaxPool2d", "kernel_size": [3, 1], "stride": [2, 1], "padding": [1, 0]},
        {"kind": "AvgPool2d", "kernel_size": [3, 1]},
        {"kind": "Flatten"},
        {"kind": "QuaternionLinear", "name": "head", "in_features": 32, "out_features": 12, "bias": False},
    )  # fmt: skip
    x = drawn(3, 8, 6, 4, seed=9)
    inner = torch.tanh(hamilton(down, x, lambda part, component: functional.conv2d(component, part, None, 2)))
    inner = hamilton(
        conjugate(transposed),
        inner,
        lambda part, component: functional.conv_transpose2d(component, part, None, 2, 1, 1),
    ) + drawn(8, seed=7).reshape(-1, 1, 1)
    y = functional.max_pool2d(inner + torch.sigmoid(x), (3, 1), (2, 1), (1, 0))
    y = functional.avg_pool2d(y, (3, 1)).flatten(1)
    close(built(state, description)(x), hamilton(head, y, lambda part, component: component @ part))


def test_qytorch_with_padding_and_torch_layers():
    w = weights(3, 2, 4, 3)
    norm = nn.BatchNorm2d(12).eval()
    norm.load_state_dict(
        {
            "weight": drawn(12, seed=1), "bias": drawn(12, seed=2), "running_mean": drawn(12, seed=3),
            "running_var": drawn(12, seed=4).abs(), "num_batches_tracked": torch.tensor(3),
        }
    )  # fmt: skip
    convolution = nn.Conv2d(12, 5, 1, groups=1)
    state = named("conv", w) | named("norm", norm.state_dict()) | named("last", convolution.state_dict())
    description = architecture(
        "qytorch",
        (8, 5, 6),
        {
            "kind": "QConv2d", "name": "conv", "in_channels": 8, "out_channels": 12, "kernel_size": [4, 3],
            "padding": "same", "padding_mode": "reflect", "bias": False,
        },
        {"kind": "BatchNorm2d", "name": "norm", "num_features": 12, "eps": 1e-5, "activation": "relu"},
        {"kind": "Conv2d", "name": "last", "in_channels": 12, "out_channels": 5, "kernel_size": 1},
        {"kind": "GlobalAvgPool"},
    )  # fmt: skip
    x = drawn(2, 8, 5, 6, seed=9)
    y = hamilton(conjugate(w), functional.pad(x, (1, 1, 1, 2), "reflect"), conv2d)
    expected = convolution(torch.relu(norm(y))).mean(dim=(2, 3)).detach()
    close(built(state, description)(x), expected)


def test_hypernets_drops_the_bias_that_the_library_never_adds():
    a, f, s, m = drawn(3, 3, 3), drawn(3, 5, 2, 3, seed=1), drawn(3, 2, 5, seed=2), drawn(3, 3, 3, seed=3)
    state = {"conv.A": a, "conv.F": f, "conv.bias": drawn(15), "out.A": m, "out.S": s, "out.bias": drawn(6, seed=4)}
    description = architecture(
        "hypernets",
        (6, 9),
        {
            "kind": "PHConv1D", "name": "conv", "n": 3, "in_channels": 6, "out_channels": 15, "kernel_size": 3,
            "stride": 2, "dilation": 2,
        },
        {"kind": "GlobalAvgPool"},
        {"kind": "PHMLinear", "name": "out", "n": 3, "in_features": 15, "out_features": 6},
    )  # fmt: skip
    kernel = torch.stack([sum(torch.kron(a[n], f[n, :, :, tap]) for n in range(3)) for tap in range(3)], dim=2)
    x = drawn(2, 6, 9, seed=9)
    y = functional.conv1d(x, kernel, None, 2, 0, 2).mean(2)
    close(built(state, description)(x), y @ sum(torch.kron(m[n], s[n]) for n in range(3)).T + drawn(6, seed=4))


def test_speechbrain_has_the_channels_last():
    w, out = weights(4, 2, 3, 5), weights(5, 3, seed=7)
    w["bias"], out["bias"] = drawn(16, seed=3), drawn(12, seed=4)
    last = nn.Linear(20, 6)
    wide = weights(4, 5, seed=8)
    norm = {"gamma": drawn(4, seed=11), "beta": drawn(16, seed=12), "running_mean": drawn(16, seed=13)}
    norm |= {"running_var": drawn(4, seed=14).abs(), "num_batches_tracked": torch.tensor(2)}
    state = named("conv", w) | named("norm", norm) | named("wide", wide) | named("last.w", last.state_dict())
    description = architecture(
        "speechbrain",
        (7, 9, 8),
        {
            "kind": "QConv2d", "name": "conv", "in_channels": 8, "out_channels": 16, "kernel_size": [3, 5],
            "activation": "relu",
        },
        {"kind": "QBatchNorm", "name": "norm", "num_features": 16},
        {"kind": "AvgPool2d", "kernel_size": [3, 4]},
        {"kind": "QLinear", "name": "wide", "in_features": 16, "out_features": 20, "bias": False, "activation": "tanh"},
        {"kind": "Linear", "name": "last.w", "in_features": 20, "out_features": 6},
    )  # fmt: skip
    x = drawn(2, 7, 9, 8, seed=9)
    padded = functional.pad(x.permute(0, 3, 2, 1), (2, 2, 1, 1), "reflect")
    y = torch.relu(hamilton(w, padded, conv2d).permute(0, 3, 2, 1) + w["bias"])
    y = (y - norm["running_mean"]) * (norm["gamma"] / (norm["running_var"] + 1e-4).sqrt()).repeat(4) + norm["beta"]
    y = functional.avg_pool2d(y.permute(0, 3, 1, 2), (3, 4)).permute(0, 2, 3, 1)
    y = torch.tanh(hamilton(wide, y, lambda part, component: component @ part, axis=-1))
    close(built(state, description)(x), last(y).detach())


@pytest.mark.parametrize("library", ["orkis", "speechbrain"])
def test_rotations(library):
    w, scale = weights(2, 3), drawn(2, 3, seed=7)
    state = named("turn", w | {"scale_param": scale, "zero_kernel": torch.zeros(2, 3), "bias": drawn(12)})
    kind, options = (
        ("QuaternionLinearAutograd", {"rotation": True, "scale": True})
        if library == "orkis"
        else ("QLinear", {"spinor": True, "vector_scale": True})
    )
    layer = {"kind": kind, "name": "turn", "in_features": 8, "out_features": 12}
    x = drawn(4, 8, seed=9)
    turned = {name: part.T for name, part in (w if library == "orkis" else conjugate(w)).items()}
    expected = rotations(turned, x[:, :, None], scale=scale.T, outside=library == "speechbrain")[:, :, 0]
    close(built(state, architecture(library, (8,), layer | options))(x), expected + drawn(12))
    with pytest.raises(InvalidFileError, match=r"turn\.scale_param is there"):
        built(state, architecture(library, (8,), layer | dict([next(iter(options.items()))])))
    with pytest.raises(InvalidFileError, match="scale=true without rotation"):
        built(state, architecture(library, (8,), layer | dict([list(options.items())[1]])))


def test_a_recurrent_network_of_speechbrain():
    recurrent = QLiGRU("tanh", layers=2).eval()
    head = nn.Linear(12, 3)
    state = named("rnn", recurrent.state_dict()) | named("head.w", head.state_dict())
    layer = {
        "kind": "QLiGRU",
        "name": "rnn",
        "input_size": 8,
        "hidden_size": 12,
        "num_layers": 2,
        "nonlinearity": "tanh",
    }
    last = {"kind": "Linear", "name": "head.w", "in_features": 12, "out_features": 3}
    x = drawn(4, 6, 8, seed=9)
    states = recurrent(x)[0]
    close(built(state, architecture("speechbrain", (None, 8), layer, last))(x), head(states).detach())
    read = architecture("speechbrain", (None, 8), layer | {"readout": "last"}, last)
    close(built(state, read)(x), head(states[:, -1]).detach())
    for change, words in (
        ({"num_layers": 3}, "expected num_layers=3 of LiGRU"),
        ({"kind": "QLSTM"}, "expected num_layers=2 of LSTM"),
        ({"hidden_size": 16}, "hidden_size=16, but its tensors give 12"),
    ):
        with pytest.raises(InvalidFileError, match=words):
            built(state, architecture("speechbrain", (None, 8), layer | change))
    with pytest.raises(InvalidFileError, match="of a sequence of any length"):
        built(state, architecture("speechbrain", (None, 8), layer, {"kind": "Flatten"}))


def test_a_recurrent_network_of_orkis():
    state = orkis_state(products(LSTM))
    layer = {"kind": "QLSTM", "input_size": 8, "hidden_size": 12, "num_classes": 5, "readout": "last"}
    description = architecture("orkis", (None, 8), layer, data_format="channels_last")
    x = drawn(4, 6, 8, seed=9)
    assert torch.equal(built(state, description)(x), orkis_classifier(state, readout="last")(x))
    prefixed = architecture("orkis", (None, 8), layer | {"name": "net"}, data_format="channels_last")
    assert torch.equal(built(named("net", state), prefixed)(x), built(state, description)(x))
    with pytest.raises(InvalidFileError, match="hidden_size=16, but its tensors have 12 units"):
        built(state, architecture("orkis", (None, 8), layer | {"hidden_size": 16}, data_format="channels_last"))


@pytest.mark.parametrize("library", [["orkis"], None, "keras", "side-car"])
def test_a_description_of_no_library(tmp_path, library):
    (tmp_path / "net.json").write_text(json.dumps({"schema_version": 1, "library": library}))
    with pytest.raises(InvalidFileError, match=r"library=.*, expected one of exprnn, gaudet, .*, torch-orthogonal"):
        import_foreign(tmp_path / "net.pt", tmp_path / "net.json")


def changed(change):
    state, description = htorch_state(), copy.deepcopy(HTORCH)
    change(state, description["layers"], description)
    return state, description


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s, layers, d: s.pop("features.0.k_weight"),
            r"layers\[0\] \(QConv2d features.0\): tensor 'features.0.k_weight' is miss",
        ),
        (
            lambda s, layers, d: s.update({"features.0.k_weight": drawn(4, 2, 3, 3)}),
            r"features.0.k_weight has the shape \[4, 2, 3, 3\], expected \[2, 4, 3, 3\]",
        ),
        (lambda s, layers, d: s.update({"features.3.weight": drawn(1)}), "tensors features.3.weight have no place"),
        (lambda s, layers, d: s.pop("step"), "ignored names step, which is not in"),
        (lambda s, layers, d: s.update({"out.weight": OUT * torch.nan}), "out.weight holds NaN"),
        (lambda s, layers, d: s.update({"out.weight": OUT.to(torch.int32)}), "out.weight holds torch.int32"),
        (lambda s, layers, d: s.pop("out.bias"), "tensor 'out.bias' is missing"),
        (lambda s, layers, d: s.update({"features.1.bias": BIAS}), "tensor features.1.bias is there"),
        (lambda s, layers, d: layers[0].update(in_channels=12), "in_channels=12, but what comes to it has 8 channels"),
        (lambda s, layers, d: layers[4].update(in_features=32), "in_features=32, but what comes to it has 64"),
        (lambda s, layers, d: layers[0].update(kernel_size=[3]), r"kernel_size=\[3\], expected one number or 2"),
        (lambda s, layers, d: layers[0].update(groups=3), "groups=3, expected a divisor of the 2 quaternions"),
        (lambda s, layers, d: layers[2].update(kernel_size=5), r"AvgPool2d\): .*cannot be applied|gives the shape"),
        (lambda s, layers, d: layers[2].update(padding=2), "at most half the kernel"),
        (lambda s, layers, d: layers[1]["layers"][0].update(padding=0), "its layers give|expected one shape"),
        (lambda s, layers, d: layers.pop(3), "spatial axes; expected 0"),
        (lambda s, layers, d: d.update(input=[8, 2, 2]), "cannot be applied to a sample of the shape"),
    ],
)
def test_files_that_do_not_fit(change, words):
    with pytest.raises(InvalidFileError, match=words):
        built(*changed(change))


def test_a_network_larger_than_any_memory_is_refused():
    description = architecture(
        "orkis",
        (4, 4000, 1000),
        {
            "kind": "QuaternionTransposeConv", "name": "up", "in_channels": 4, "out_channels": 4, "kernel_size": 1,
            "stride": 4000, "bias": False,
        },
    )  # fmt: skip
    with pytest.raises(InvalidFileError, match="numbers at most"):
        built(named("up", weights(1, 1, 1, 1)), description)


def test_what_the_library_cannot_pad_is_refused():
    layer = {"kind": "QConv2d", "name": "c", "in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": "causal"}
    with pytest.raises(UnsupportedModelError, match="causal of one dimension only"):
        built(named("c", weights(1, 1, 3, 3) | {"bias": drawn(4)}), architecture("speechbrain", (5, 5, 4), layer))
