"""Batch normalization from torch and from files, in every place where it stands, against the float network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

from qdeploy.capture import FloatSession, capture  # noqa: E402  # as above
from qdeploy.models import (  # noqa: E402  # as above
    QuaternionBatchNorm,
    QuaternionLinear,
    QuaternionSplitBatchNorm,
    QuaternionWhiteningBatchNorm,
)
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError  # noqa: E402  # as above

QUATERNION_FORMS = (QuaternionSplitBatchNorm, QuaternionBatchNorm, QuaternionWhiteningBatchNorm)
SHAPES = ((8,), (8, 5), (8, 4, 3), (8, 2, 4, 3))


def trained(module, seed=0):
    """Statistics and parameters as a training leaves them, factors of both signs."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, QuaternionWhiteningBatchNorm):
            mixing = torch.randn(part.num_features // 4, 4, 4, generator=generator)
            part.running_cov.copy_((mixing @ mixing.mT + torch.eye(4) / 10).permute(1, 2, 0))
        elif hasattr(part, "running_var"):
            part.running_var.uniform_(0.1, 3, generator=generator)
        if hasattr(part, "running_mean"):
            part.running_mean.normal_(generator=generator)
            with torch.no_grad():
                for parameter in part.parameters(recurse=False):
                    parameter.add_(torch.randn(parameter.shape, generator=generator))
    return module


class Each(nn.Module):
    """One layer for every rank of input: capturing them together takes a quarter of the time."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, a, b, c, d):
        return tuple(layer(x) for layer, x in zip(self.layers, (a, b, c, d), strict=True))


def each(layers, rng):
    samples = {name: rng.normal(size=(3, *shape)) for name, shape in zip("abcd", SHAPES, strict=True)}
    return capture(trained(Each(layers)), samples)


@pytest.mark.parametrize("affine", [True, False])
def test_real(rng, operators, affine):
    kinds = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    captured = each([kind(8, affine=affine) for kind in kinds], rng)
    assert operators(captured) == [f"ChannelAffine:trailing_{axes}" for axes in range(4)]
    assert captured.error < 1e-5


@pytest.mark.parametrize("form", QUATERNION_FORMS)
def test_quaternion(rng, operators, form):
    captured = each([form(8) for _ in SHAPES], rng)
    operator = "QuaternionAffine" if form is QuaternionWhiteningBatchNorm else "ChannelAffine"
    assert operators(captured) == [f"{operator}:trailing_{axes}" for axes in range(4)]
    assert captured.error < 1e-5


def test_quaternion_channels_last_and_other_whitenings(rng, operators):
    layers = [form(8, dim=-1) for form in QUATERNION_FORMS[:2]]
    layers += [
        QuaternionWhiteningBatchNorm(8, dim=-1, whitening=name, symmetric=False) for name in ("htorch", "gaudet")
    ]
    samples = {name: rng.normal(size=(3, 5, 8)) for name in "abcd"}
    captured = capture(trained(Each(layers)), samples)
    assert [name.partition(":")[2] for name in operators(captured)] == ["trailing_0"] * 4
    assert captured.error < 1e-5


class Functional(nn.Module):
    """A normalization that is no layer."""

    def __init__(self):
        super().__init__()
        self.head, self.norm = nn.Linear(4, 8), nn.BatchNorm1d(8)

    def forward(self, x):
        n = self.norm
        return nn.functional.batch_norm(
            self.head(x), n.running_mean, n.running_var, n.weight, n.bias, training=False, eps=1e-3
        )


def test_functional(rng, operators):
    captured = capture(trained(Functional()), {"x": rng.normal(size=(3, 4))})
    assert operators(captured) == ["Linear:bias", "ChannelAffine:trailing_0"]
    assert captured.error < 1e-5


class Activated(nn.BatchNorm1d):
    """A subclass that does more than its base keeps doing it."""

    def forward(self, x):
        return torch.relu(super().forward(x))


def test_subclasses(rng, operators):
    module = nn.Sequential(nn.Linear(4, 8), Activated(8), nn.Linear(8, 8), nn.SyncBatchNorm(8))
    captured = capture(trained(module), {"x": rng.normal(size=(3, 4))})
    layer = ["Linear:bias", "ChannelAffine:trailing_0"]
    assert operators(captured) == [*layer, "Relu", *layer]
    assert captured.error < 1e-5


class Sequences(nn.Module):
    """What people write behind a layer over [batch, steps, channels]."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.rnn, self.norm, self.out = nn.GRU(3, 8, batch_first=True), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, x):
        states, _ = self.rnn(x)
        if self.way == "transposed":
            normalized = self.norm(states.transpose(1, 2)).transpose(1, 2)
        else:
            normalized = self.norm(states.reshape(-1, 8)).reshape(-1, 6, 8)
        return self.out(torch.relu(normalized))


@pytest.mark.parametrize("way", ["transposed", "flat"])
def test_between_layout_operators(rng, way):
    """It is moved to the layer that writes the channels, and the Transposes meet."""
    captured = capture(trained(Sequences(way)), {"x": rng.normal(size=(3, 6, 3))})
    nodes = {node.op_type: node for node in captured.model.graph.node}
    assert nodes["ChannelAffine"].overload == "trailing_0"
    if way == "transposed":
        assert nodes["ChannelAffine"].input[0] == "rnn.states"
        assert [node.op_type for node in captured.model.graph.node].count("Transpose") == 2
    assert captured.error < 1e-5


def test_matrices_are_levelled_without_changing_a_bit(rng):
    """The columns of a channel of variance 1e-6 are a thousand times larger; powers of two move to the layer before."""
    layer = trained(QuaternionWhiteningBatchNorm(8, eps=0.0))
    layer.running_cov[:, :, 0] *= 1e-6
    layer.running_cov[:, :, 1] *= 1e3
    module = nn.Sequential(QuaternionLinear(4, 8), layer)
    captured = capture(module, {"x": rng.normal(size=(3, 4))})
    nodes = {node.op_type: node for node in captured.model.graph.node}
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in captured.model.graph.initializer}
    scale = tensors[nodes["ChannelAffine"].input[1]]
    assert (np.frexp(scale)[0] == 0.5).all()
    assert not tensors[nodes["ChannelAffine"].input[2]].any()
    matrix, expected = tensors[nodes["QuaternionAffine"].input[1]], layer.matrix_and_shift()[0].float().numpy()
    assert (matrix * scale.reshape(4, 2).T[:, None, :] == expected).all()
    largest = np.abs(matrix).max(axis=1)
    assert largest.max() < 16
    assert largest.min() > 1 / 16
    assert np.abs(expected).max() / np.abs(expected).max(axis=(1, 2)).min() > 1e3


FILE = """
    <ir_version: 8, opset_import: ["": 17]>
    net (float[N, 4] x, float[8, 4] w, float[8] s, float[8] b, float[8] m, float[8] v) => (float[N, 8] y) {
        a = Gemm <transB = 1> (x, w)
        n = BatchNormalization <epsilon = 0.001%s> (a, s, b, m, v)
        y = Relu (n)
    }"""
LAST = """
    <ir_version: 8, opset_import: ["": 17]>
    net (float[N, 5, 4] x, float[4, 8] w, float[8] s, float[8] b, float[8] m, float[8] v) => (float[N, 5, 8] y) {
        a = MatMul (x, w)
        first = Transpose <perm = [0, 2, 1]> (a)
        n = BatchNormalization (first, s, b, m, v)
        y = Transpose <perm = [0, 2, 1]> (n)
    }"""


def file_with(rng, onnx_file, text, **changed):
    rows = (4, 8) if text is LAST else (8, 4)
    arrays = {"w": rng.normal(size=rows), **{name: rng.normal(size=8) for name in "sbm"}, "v": rng.random(8) + 0.1}
    arrays = {name: changed.get(name, array).astype(np.float32) for name, array in arrays.items()}
    path = onnx_file(text, arrays)
    model = onnx.load(path)
    kept = [value for value in model.graph.input if value.name == "x"]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    path.write_bytes(model.SerializeToString())
    return path, arrays


def test_of_a_file(rng, onnx_file, operators):
    path, arrays = file_with(rng, onnx_file, FILE % "")
    x = rng.normal(size=(3, 4)).astype(np.float32)
    captured = capture(path, {"x": x})
    assert operators(captured) == ["Linear:no_bias", "ChannelAffine:trailing_0", "Relu"]
    normalized = (x @ arrays["w"].T - arrays["m"]) / np.sqrt(arrays["v"] + 1e-3) * arrays["s"] + arrays["b"]
    np.testing.assert_allclose(FloatSession(captured.model).run({"x": x})["y"], np.maximum(normalized, 0), atol=1e-5)


def test_of_a_file_with_channels_last(rng, onnx_file, operators):
    path, _ = file_with(rng, onnx_file, LAST)
    captured = capture(path, {"x": rng.normal(size=(3, 5, 4))})
    assert operators(captured)[:2] == ["Linear:no_bias", "ChannelAffine:trailing_0"]
    assert captured.error < 1e-5


def test_files_that_are_refused(rng, onnx_file):
    path, _ = file_with(rng, onnx_file, FILE % "", v=np.full(8, -1.0))
    with pytest.raises(InvalidFileError, match=r"BatchNormalization\): its running statistics give factors"):
        capture(path, {"x": rng.normal(size=(3, 4))})
    text = (FILE % ", training_mode = 1").replace("n = Batch", "n, mean, variance = Batch")
    path, _ = file_with(rng, onnx_file, text)
    with pytest.raises(UnsupportedModelError, match=r"found training mode.*model.eval\(\)"):
        capture(path, {"x": rng.normal(size=(3, 4))})


def test_layers_that_are_refused(rng):
    samples = {"x": rng.normal(size=(3, 8))}
    with pytest.raises(
        UnsupportedModelError, match=r"layer 1 .*BatchNorm1d\) has no running statistics.*track_running"
    ):
        capture(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, track_running_stats=False)), samples)
    layer = nn.BatchNorm1d(8, eps=0.0)
    layer.running_var.zero_()
    with pytest.raises(InvalidFileError, match=r"layer 0 \(BatchNorm1d\): its running statistics"):
        capture(nn.Sequential(layer), samples)
    for norm in (nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.InstanceNorm1d(8)):
        with pytest.raises(UnsupportedModelError, match=r"a deviation of the sample itself.*batch normalization"):
            capture(nn.Sequential(norm), samples)


class Scaled(nn.Module):
    """Inputs scaled as people do it, and a normalization that an exporter took apart."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3, 0.4]))
        self.register_buffer("deviation", torch.tensor([0.5, 2.0, 0.25, 4.0]))
        self.register_buffer("factor", torch.linspace(-1, 1, 8))
        self.head = nn.Linear(4, 8)

    def forward(self, x):
        hidden = self.head((x - self.mean) / self.deviation)
        return torch.relu(1 - hidden * self.factor + 0.5) * 2


def test_constants_for_channels_are_affine_maps(rng, operators):
    captured = capture(Scaled(), {"x": rng.normal(size=(3, 4))})
    affine = "ChannelAffine:trailing_0"
    assert operators(captured) == [affine, "Linear:bias", affine, "Relu", affine]
    assert captured.error < 1e-5


IMAGE = """
    <ir_version: 8, opset_import: ["": 17]>
    net (float[N, 3, 4, 5] x) => (float[N, 3, 4, 5] y) { %s }"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = Sub (x, c) y = Div (a, d)", ["ChannelAffine:trailing_2"]),
        ("y = Mul (x, w)", ["ChannelAffine:trailing_0"]),
        ("y = Add (h, x)", ["ChannelAffine:trailing_1"]),
        ("a = Add (x, one) y = Mul (a, c)", ["ChannelAffine:trailing_0", "ChannelAffine:trailing_2"]),
    ],
)
def test_constants_of_any_axis_but_the_first(rng, onnx_file, operators, body, expected):
    shapes = {"c": (3, 1, 1), "d": (1, 3, 1, 1), "w": (5,), "h": (4, 1), "one": ()}
    arrays = {
        name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in shapes.items() if f"{name}" in body
    }
    captured = capture(onnx_file(IMAGE % body, arrays), {"x": rng.normal(size=(3, 3, 4, 5))})
    assert operators(captured) == expected
    assert captured.error < 1e-5


@pytest.mark.parametrize("body", ["y = Mul (x, p)", "y = Mul (x, s)", "y = Div (o, x)"])
def test_constants_that_are_no_affine_map(rng, onnx_file, body):
    arrays = {"p": np.ones((4, 5), np.float32), "s": np.ones((3, 1, 1, 1), np.float32), "o": np.ones(5, np.float32)}
    path = onnx_file(IMAGE % body, {name: array for name, array in arrays.items() if name in body})
    with pytest.raises(UnsupportedModelError, match=r"not one number for each entry of one axis|Div\): not supported"):
        capture(path, {"x": rng.normal(size=(3, 3, 4, 5))})
