"""Convolutions from torch and from ONNX files: attributes, pads, biases, names, quaternion kernels, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

from qdeploy.capture import FloatSession, capture  # noqa: E402  # after the skip
from qdeploy.models import QuaternionConv1d, QuaternionConv2d, QuaternionConv3d  # noqa: E402  # after the skip
from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError  # noqa: E402  # after the skip


def attributes_of(captured, index=0):
    """The attributes of a captured model's convolution."""
    node = [node for node in captured.model.graph.node if node.op_type == "Conv"][index]
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def images(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def exported(module, samples, path):
    """The file that torch writes of a module, with free numbers of samples."""
    module.eval()
    with warnings.catch_warnings():
        # torch deprecates what its own exporter calls.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.from_numpy(samples[:2]),), str(path), dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["x"], opset_version=18, dynamo=True, verbose=False, external_data=False,
        )  # fmt: skip
    return path


class Functional(nn.Module):
    """A convolution that is no layer."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 2, 3))

    def forward(self, x):
        return nn.functional.conv1d(x, self.kernel, padding="same", dilation=2)


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(3, 4, 3, 2, 1), (3, 7, 6), {"strides": [2, 2], "pads": [1, 1, 1, 1], "dilations": [1, 1]}),
        (nn.Conv2d(4, 4, (1, 3), padding="same", groups=4, bias=False), (4, 5, 6), {"pads": [0, 1, 0, 1], "group": 4}),
        (nn.Conv2d(2, 4, 3, padding="valid", dilation=(1, 2)), (2, 5, 6), {"pads": [0] * 4, "dilations": [1, 2]}),
        (nn.Conv1d(2, 4, 3, padding=2), (2, 9), {"strides": [1], "pads": [2, 2]}),
        (nn.Conv3d(1, 2, 2, (1, 2, 1)), (1, 3, 4, 3), {"strides": [1, 2, 1], "pads": [0] * 6}),
        (Functional(), (2, 9), {"pads": [2, 2], "dilations": [2], "group": 1}),
    ],
)  # fmt: skip
def test_torch_convolutions(rng, operators, module, shape, expected):
    captured = capture(module, {"x": images(rng, 4, *shape)})
    assert operators(captured) == ["Conv"]
    assert attributes_of(captured).items() >= expected.items()
    assert set(attributes_of(captured)) == {"strides", "pads", "dilations", "group"}
    assert captured.error < 1e-5


def test_layers_are_named_after_their_modules(rng):
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), QuaternionConv2d(4, 8, 2), QuaternionConv2d(8, 8, 1, groups=2)
    )
    captured = capture(module, {"x": images(rng, 2, 2, 6, 6)})
    assert [node.name for node in captured.model.graph.node if node.op_type == "Conv"] == ["0", "2", "3"]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(("layer", "shape"), [(nn.Conv1d, (2, 5)), (nn.Conv2d, (2, 4, 5))])
def test_borders_of_other_kinds_are_gathered(rng, operators, mode, layer, shape):
    captured = capture(layer(2, 3, 3, padding=2, padding_mode=mode), {"x": images(rng, 3, *shape)})
    assert operators(captured) == [*["Gather"] * (len(shape) - 1), "Conv"]
    assert not any(attributes_of(captured)["pads"])


def test_a_pad_of_zeros_joins_the_convolution(rng, operators):
    module = nn.Sequential(nn.ZeroPad2d((1, 2, 3, 0)), nn.Conv2d(2, 3, 3, padding=1))
    captured = capture(module, {"x": images(rng, 3, 2, 4, 5)})
    assert operators(captured) == ["Conv"]
    assert attributes_of(captured)["pads"] == [4, 2, 1, 3]


@pytest.mark.parametrize(
    ("layer", "shape", "groups", "source"),
    [
        (QuaternionConv1d, (9,), 1, "torch"),
        (QuaternionConv2d, (5, 6), 2, "torch"),
        (QuaternionConv3d, (3, 4, 3), 4, "torch"),
        (QuaternionConv1d, (9,), 2, "file"),
        (QuaternionConv2d, (5, 6), 1, "file"),
        (QuaternionConv2d, (5, 6), 4, "file"),
    ],
)
def test_quaternion_convolutions_keep_their_components(rng, operators, tmp_path, layer, shape, groups, source):
    torch.manual_seed(groups)
    module = layer(16, 32, 3 if layer is QuaternionConv1d else 2, 2, 1, groups=groups)
    nn.init.normal_(module.bias)
    samples = images(rng, 3, 16, *shape)
    model = module if source == "torch" else exported(module, samples, tmp_path / "model.onnx")
    captured = capture(model, {"x": samples})
    rows = ["GateRows"] if groups > 1 else []
    chosen = ["Gather"] if groups > 1 else []
    found = operators(captured)
    assert sorted(found) == sorted(["HamiltonMatrix:blocked", *rows, *chosen, "Conv", *chosen])
    assert captured.error < 1e-5
    weights = {tensor.name: tuple(tensor.dims) for tensor in captured.model.graph.initializer}
    kernel = tuple(module.r_weight.shape[2:])
    assert list(weights.values()).count((8, 4 // groups, *kernel)) == 4
    assert not any(len(dims) > 2 and dims[0] == 32 for dims in weights.values())


def test_a_product_with_conjugates_is_another_quaternions(rng, operators, onnx_file):
    """conj(w) (x) x as qytorch's convolutions compute it: the first row of the kernel is [r, i, j, k]."""
    r, i, j, k = (rng.normal(size=(2, 1, 3, 3)).astype(np.float32) for _ in range(4))
    rows = [[r, i, j, k], [-i, r, k, -j], [-j, -k, r, i], [-k, j, -i, r]]
    kernel = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    path = onnx_file(
        '<ir_version: 8, opset_import: ["": 17]> g (float[B, 4, 5, 5] x) => (float[B, 8, 3, 3] y) { y = Conv (x, w) }',
        {"w": kernel},
    )
    captured = capture(path, {"x": images(rng, 2, 4, 5, 5)})
    assert operators(captured) == ["HamiltonMatrix:blocked", "Conv"]
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in captured.model.graph.initializer}
    assert (constants["conv.i_weight"] == -i).all()


def test_activations_and_biases_pass_the_order_of_channels(rng, operators, tmp_path):
    """The Relu behind a convolution with groups stands at its result, and between two of them no channel moves."""
    module = nn.Sequential(
        QuaternionConv2d(8, 16, 3, groups=2), nn.ReLU(), QuaternionConv2d(16, 8, 1, groups=2), nn.ReLU(), nn.Flatten()
    )
    samples = images(rng, 3, 8, 4, 4)
    for model in (module, exported(module, samples, tmp_path / "model.onnx")):
        found = [name for name in operators(capture(model, {"x": samples})) if ":" not in name and name != "GateRows"]
        assert found[:6] == ["Gather", "Conv", "Relu", "Conv", "Relu", "Gather"]


FILE = """
    <ir_version: 8, opset_import: ["": 17]>
    g (float[B, 2, 6, 7] x) => (float[B, 3, P, Q] y) {{
        {lines}
    }}"""


@pytest.mark.parametrize(
    ("attributes", "pads"),
    [
        ('auto_pad = "VALID"', [0, 0, 0, 0]),
        ('auto_pad = "SAME_UPPER"', [1, 0, 1, 1]),
        ('auto_pad = "SAME_LOWER"', [1, 1, 1, 0]),
        ('auto_pad = "SAME_UPPER", strides = [2, 2]', [0, 0, 1, 1]),
        ('auto_pad = "SAME_LOWER", strides = [2, 3]', [1, 1, 0, 0]),
        ("pads = [0, 1, 2, 3], kernel_shape = [3, 2]", [0, 1, 2, 3]),
        ("", [0, 0, 0, 0]),
    ],
)
def test_pads_of_files_become_explicit(rng, onnx_file, attributes, pads):
    path = onnx_file(
        FILE.format(lines=f"y = Conv <{attributes}> (x, w)" if attributes else "y = Conv (x, w)"),
        {"w": images(rng, 3, 2, 3, 2)},
    )
    captured = capture(path, {"x": images(rng, 3, 2, 6, 7)})
    assert attributes_of(captured)["pads"] == pads
    assert captured.error < 1e-5


def test_what_is_added_behind_a_convolution_is_its_bias(rng, onnx_file, operators):
    path = onnx_file(
        FILE.format(lines="c = Conv (x, w, b)\n d = Add (a, c)\n y = Add (d, e)"),
        {"w": images(rng, 3, 2, 3, 3), "b": images(rng, 3), "a": images(rng, 3, 1, 1), "e": images(rng, 1, 3, 1, 1)},
    )
    captured = capture(path, {"x": images(rng, 3, 2, 6, 7)})
    assert operators(captured) == ["Conv"]
    assert len(captured.model.graph.initializer) == 2


def test_a_kernel_that_two_layers_share_is_theirs_each(rng, onnx_file):
    path = onnx_file(
        '<ir_version: 8, opset_import: ["": 17]> g (float[B, 3, 6, 7] x) => (float[B, 3, P, Q] y) '
        "{ a = Conv (x, w)\n b = Relu (a)\n y = Conv (b, w) }",
        {"w": images(rng, 3, 3, 2, 2)},
    )
    captured = capture(path, {"x": images(rng, 3, 3, 6, 7)})
    read = [node.input[1] for node in captured.model.graph.node if node.op_type == "Conv"]
    assert len(set(read)) == 2


def test_a_file_runs_with_other_numbers_of_samples(rng, onnx_file):
    path = onnx_file(FILE.format(lines="y = Conv (x, w)").replace("[B, 2", "[1, 2").replace("[B, 3", "[1, 3"),
                     {"w": images(rng, 3, 2, 3, 3)})  # fmt: skip
    captured = capture(path, {"x": images(rng, 4, 2, 6, 7)})
    assert FloatSession(captured.model).run({"x": np.zeros((5, 2, 6, 7), np.float32)})["y"].shape == (5, 3, 4, 5)


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ("y = Conv <pads = [-1, 0, 0, 0]> (x, w)", UnsupportedModelError, r"negative pads \[-1, 0, 0, 0\]"),
        ("k = Mul (w, x)\n y = Conv (x, k)", UnsupportedModelError, "its kernel k is computed by the network"),
        ("y = Conv <kernel_shape = [3, 2]> (x, w)", InvalidFileError, r"kernel_shape is \[3, 2\]|kernel"),
    ],
)
def test_refusals_of_files(rng, onnx_file, lines, error, message):
    with pytest.raises(error, match=message):
        capture(onnx_file(FILE.format(lines=lines), {"w": images(rng, 3, 2, 6, 7)}), {"x": images(rng, 3, 2, 6, 7)})


def test_same_pads_of_a_free_size_are_refused_with_strides(rng, onnx_file):
    text = FILE.format(lines='y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w)')
    with pytest.raises(UnsupportedModelError, match="auto_pad=SAME_UPPER with strides"):
        capture(
            onnx_file(text.replace("6, 7]", "H, W]"), {"w": images(rng, 3, 2, 3, 3)}), {"x": images(rng, 2, 2, 6, 7)}
        )


class Separable(nn.Module):
    """Depthwise quaternion convolutions between others, as in MobileNet."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            QuaternionConv2d(4, 8, 3), nn.ReLU(),
            QuaternionConv2d(8, 8, 2, groups=2), nn.ReLU(),
            QuaternionConv2d(8, 16, 1), nn.ReLU6(),
            QuaternionConv2d(16, 16, 2, groups=4), nn.ReLU(),
            QuaternionConv2d(16, 8, 1),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize("source", ["torch", "file"])
def test_no_channel_moves_around_depthwise_quaternion_convolutions(rng, operators, tmp_path, source):
    module = Separable()
    for part in module.layers:
        if hasattr(part, "bias"):
            nn.init.normal_(part.bias)
    samples = images(rng, 3, 4, 6, 6)
    captured = capture(module if source == "torch" else exported(module, samples, tmp_path / "m.onnx"), {"x": samples})
    assert captured.error < 1e-5
    found = operators(captured)
    assert "Gather" not in found
    assert (
        sorted(name for name in found if ":" in name)
        == ["HamiltonMatrix:adjacent"] * 2 + ["HamiltonMatrix:blocked"] * 3
    )
    assert found.count("GateRows") == 4


def test_shuffled_channels_of_real_convolutions_are_rows_and_columns(rng, operators, onnx_file):
    path = onnx_file(
        '<ir_version: 8, opset_import: ["": 17]> g (float[B, 2, 5, 5] x) => (float[B, 2, 4, 4] y) {\n'
        "a = Conv (x, w, b)\n s = Gather <axis = 1> (a, p)\n r = Relu (s)\n"
        "d = Conv <group = 4> (r, v)\n t = Gather <axis = 1> (d, p)\n y = Conv (t, u) }",
        {
            "w": images(rng, 4, 2, 2, 2), "b": images(rng, 4), "v": images(rng, 4, 1, 1, 1), "u": images(rng, 2, 4, 1, 1),
            "p": np.array([2, 0, 3, 1]),
        },
    )  # fmt: skip
    captured = capture(path, {"x": images(rng, 3, 2, 5, 5)})
    assert operators(captured) == ["Conv", "Relu", "Conv", "Conv"]
    assert captured.error < 1e-5
