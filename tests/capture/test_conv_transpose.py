"""Transposed convolutions as convolutions of all phases: every attribute, what stands behind them, and quaternion kernels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  # after the skip

from qdeploy.capture import FloatSession, capture  # noqa: E402  # after the skip
from qdeploy.capture.passes import canonicalize  # noqa: E402  # after the skip
from qdeploy.models import QuaternionConvTranspose1d, QuaternionConvTranspose2d  # noqa: E402  # after the skip
from qdeploy.runtime.errors import UnsupportedModelError  # noqa: E402  # after the skip

TRANSPOSED = (nn.functional.conv_transpose1d, nn.functional.conv_transpose2d, nn.functional.conv_transpose3d)


def transposed(sizes, kernel, attributes):
    """A model of one ConvTranspose over images of these sizes."""
    dims = ", ".join(map(str, sizes))
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> '
        f"g (float[B, {kernel.shape[0]}, {dims}] x) => (float[B, N, {', '.join('PQR'[: len(sizes)])}] y) "
        f"{{ y = ConvTranspose <{attributes}> (x, w) }}"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(kernel, "w"))
    return model


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_every_output_is_the_same_sum(data, rank, seed):
    """Small integers as floats, so that both compute exactly."""
    rng = np.random.default_rng(seed)
    group = data.draw(st.integers(1, 2))
    kernel = [data.draw(st.integers(1, 4)) for _ in range(rank)]
    strides, dilations = ([data.draw(st.integers(1, 3)) for _ in range(rank)] for _ in range(2))
    pads = [data.draw(st.integers(0, 3)) for _ in range(rank)]
    more = [data.draw(st.integers(0, max(strides[a], dilations[a]) - 1)) for a in range(rank)]
    sizes = [data.draw(st.integers(1, 4)) for _ in range(rank)]
    lengths = [
        (sizes[a] - 1) * strides[a] + dilations[a] * (kernel[a] - 1) + 1 - 2 * pads[a] + more[a] for a in range(rank)
    ]
    assume(min(lengths) > 0)
    weight = rng.integers(-9, 10, (2 * group, 3, *kernel)).astype(np.float32)
    attributes = (
        f"strides = {strides}, pads = {pads + pads}, dilations = {dilations}, output_padding = {more}, group = {group}"
    )
    model = canonicalize(transposed(sizes, weight, attributes)).model
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}
    x = rng.integers(-9, 10, (2, 2 * group, *sizes)).astype(np.float32)
    # onnxruntime gives no results of a size below the kernel's pads; torch does.
    expected = TRANSPOSED[rank - 1](
        torch.from_numpy(x), torch.from_numpy(weight), None, strides, pads, more, group, dilations
    ).numpy()
    found = FloatSession(model).run({"x": x})["y"]
    assert found.shape == expected.shape
    assert (found == expected).all()


@pytest.mark.parametrize(
    ("attributes", "kernel"),
    [
        ('auto_pad = "SAME_UPPER", strides = [2, 2]', (3, 3)),
        ('auto_pad = "SAME_LOWER", strides = [3, 2]', (4, 3)),
        ("output_shape = [9, 11], strides = [2, 2]", (3, 4)),
        ("pads = [1, 0, 0, 2], strides = [2, 3]", (4, 3)),
    ],
)
def test_pads_of_files(rng, tmp_path, attributes, kernel):
    model = transposed((4, 5), rng.normal(size=(2, 3, *kernel)).astype(np.float32), attributes)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    assert capture(path, {"x": rng.normal(size=(3, 2, 4, 5)).astype(np.float32)}).error < 1e-5


@pytest.mark.parametrize("groups", [1, 2])
def test_what_stands_behind_goes_to_the_convolution(rng, operators, groups):
    module = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=groups), nn.ReLU(), nn.Conv2d(6, 2, 1))
    captured = capture(module, {"x": rng.normal(size=(3, 4, 4, 5)).astype(np.float32)})
    assert operators(captured) == ["Conv", "Relu", "Reshape", "Transpose", "Reshape", "Slice", "Conv"]
    assert next(node.name for node in captured.model.graph.node) == "0"
    assert captured.error < 1e-5


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (QuaternionConvTranspose2d(8, 16, 4, 2, 1), (8, 3, 4)),
        (QuaternionConvTranspose2d(8, 8, 2, 2, groups=2), (8, 3, 3)),
        (QuaternionConvTranspose1d(4, 8, 3, 3, dilation=2, output_padding=1), (4, 5)),
    ],
)
def test_quaternion_kernels_keep_their_components(rng, operators, module, shape):
    nn.init.normal_(module.bias)
    captured = capture(module, {"x": rng.normal(size=(3, *shape)).astype(np.float32)})
    assert captured.error < 1e-5
    found = operators(captured)
    assert found.count("Conv") == found.count("HamiltonMatrix:blocked") == 1
    assert found.count("GateRows") == (module.groups > 1)
    assert not any(name in found for name in ("Add", "ConvTranspose"))
    kernels = [tensor.dims for tensor in captured.model.graph.initializer if len(tensor.dims) > 2]
    assert len(kernels) == 4


def test_a_free_size_of_two_axes_is_refused(rng, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(transposed(("H", "W"), rng.normal(size=(2, 3, 3, 3)).astype(np.float32), "strides = [2, 2]"), path)
    with pytest.raises(UnsupportedModelError, match="2 axes of free size, expected one at most"):
        capture(path, {"x": rng.normal(size=(3, 2, 4, 5)).astype(np.float32)})


def test_a_sequence_may_have_any_length(rng):
    model = transposed(("L",), rng.normal(size=(2, 3, 4)).astype(np.float32), "strides = [2], pads = [1, 1]")
    captured = canonicalize(model).model
    for length in (2, 7):
        x = rng.normal(size=(1, 2, length)).astype(np.float32)
        assert FloatSession(captured).run({"x": x})["y"].shape == (1, 3, 2 * length)
