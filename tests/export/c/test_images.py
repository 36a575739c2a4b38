"""Convolutions and pools in C against the reference, on small images whose sizes divide nothing."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.export.c import c_files
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.manifest import Manifest
from qdeploy.runtime.ops.hamilton_matrix import hamilton_matrix
from qdeploy.runtime.ops.operator import Node
from qdeploy.runtime.reference import ReferenceModel

from .layers import Array, Network
from .running import Library, of_model

pytestmark = pytest.mark.cc

TARGETS = ["generic", "host", "pi4"]


def image(*shape: int, dtype: type[np.generic] = np.uint8) -> Array:
    low, high = (0, 256) if dtype is np.uint8 else (-(2**15), 2**15)
    return np.random.default_rng(len(shape)).integers(low, high, shape).astype(dtype)


def weights(*shape: int, low: int = -127, high: int = 127) -> Array:
    return np.random.default_rng(sum(shape)).integers(low, high + 1, shape).astype(np.int8)


def quaternion(outputs: int, inputs: int, *kernel: int) -> Array:
    """A Hamilton matrix of so many quaternions."""
    components = weights(4, outputs, inputs, *kernel)
    return hamilton_matrix(Node("w"), *components, grouping="blocked")[0]


def conv(network: Network, x: str, weight: Array, *, output: bool = True, **changes: Any) -> str:
    """A Conv of bytes that hands over 8 bits, with a multiplier for each output unless ``changes`` say otherwise."""
    outputs, rank = len(weight), weight.ndim - 2
    generator = np.random.default_rng(outputs)
    attributes: dict[str, Any] = {
        "strides": [1] * rank,
        "pads": [0] * (2 * rank),
        "dilations": [1] * rank,
        "group": 1,
        "x_zero_point": 3,
        "shift": 24,
        "y_zero_point": 128,
        "low": 0,
        "high": 255,
        "dtype": 2,
    }
    arguments: dict[str, str | Array] = {
        "x": x,
        "weight": weight,
        "bias": generator.integers(-(2**16), 2**16, outputs).astype(np.int32),
        "multiplier": generator.integers(1, 2**14, outputs).astype(np.int32),
    }
    arguments |= {name: changes.pop(name) for name in list(changes) if name in arguments}
    return network.add("Conv", arguments, output=output, **{**attributes, **changes})


@pytest.mark.parametrize("target", TARGETS)
def test_strides_pads_and_dilations(tmp_path: Path, target: str) -> None:
    network = Network({"x": image(3, 7, 10)})
    conv(network, "x", weights(5, 3, 3, 3), pads=[1, 1, 1, 1])
    conv(network, "x", weights(17, 3, 3, 2), strides=[2, 3], pads=[0, 1, 2, 1])
    conv(network, "x", weights(4, 3, 2, 3), dilations=[3, 2], pads=[2, 3, 1, 2])
    conv(network, "x", weights(4, 3, 1, 3), dilations=[1, 2], strides=[1, 3])
    conv(network, "x", weights(6, 3, 1, 1))
    conv(network, "x", weights(6, 3, 1, 1), strides=[2, 2], pads=[1, 0, 0, 1])
    conv(network, "x", weights(3, 3, 7, 10))
    conv(network, "x", weights(9, 3, 1, 4), multiplier=np.array([300], np.int32), low=128)
    conv(
        network,
        "x",
        weights(4, 3, 3, 3),
        shift=0,
        multiplier=np.array([1], np.int32),
        dtype=6,
        low=-(2**31),
        high=2**31 - 1,
    )
    conv(
        network,
        "x",
        weights(4, 3, 3, 3, low=-8, high=7),
        dtype=5,
        shift=12,
        y_zero_point=0,
        low=-(2**15),
        high=2**15 - 1,
    )
    conv(network, "x", weights(4, 3, 3, 3, low=-1, high=0))
    conv(network, "x", np.where(weights(4, 3, 2, 2) > 0, -128, 127).astype(np.int8))
    network.check(tmp_path, target=target)


@pytest.mark.parametrize("target", TARGETS)
def test_groups_and_quaternions(tmp_path: Path, target: str) -> None:
    network = Network({"x": image(8, 5, 6)})
    conv(network, "x", weights(8, 1, 3, 3), group=8, pads=[1, 1, 1, 1])
    conv(network, "x", weights(16, 1, 3, 2), group=8, strides=[2, 1])
    conv(network, "x", weights(6, 4, 3, 3), group=2, pads=[1, 0, 1, 0], dilations=[1, 2])
    conv(network, "x", weights(6, 4, 1, 1), group=2)
    conv(network, "x", quaternion(16, 2, 3, 3), pads=[1, 1, 1, 1])
    conv(network, "x", quaternion(16, 2, 2, 3), strides=[2, 2], dilations=[1, 2], pads=[0, 1, 1, 2])
    conv(network, "x", quaternion(16, 2, 1, 1))
    conv(network, "x", quaternion(3, 2, 1, 3))
    text = network.check(tmp_path, target=target)
    assert "depthwise_u8(" in text
    assert "quaternion_u8_w8(" in text


@pytest.mark.parametrize("target", TARGETS)
def test_quaternions_whose_parts_lie_side_by_side(tmp_path: Path, target: str) -> None:
    """The components of their weights are found; channels are taken apart into the strip, and outputs put together."""
    network = Network({"x": image(12, 4, 5)})
    weight = quaternion(16, 3, 2, 2)
    inputs = weight.reshape(64, 4, 3, 2, 2).swapaxes(1, 2).reshape(weight.shape)
    outputs = weight.reshape(4, 16, 12, 2, 2).swapaxes(0, 1).reshape(weight.shape)
    both = inputs.reshape(4, 16, 12, 2, 2).swapaxes(0, 1).reshape(weight.shape)
    conv(network, "x", inputs, pads=[1, 0, 0, 1])
    conv(network, "x", outputs, dilations=[1, 3], strides=[2, 1])
    conv(network, "x", np.ascontiguousarray(both[:, :, :1, :1]))
    wide = {"dtype": 5, "y_zero_point": 0, "low": -(2**15), "high": 2**15 - 1, "shift": 16}
    conv(network, "x", both, multiplier=np.array([700], np.int32), **wide)
    text = network.check(tmp_path, target=target)
    assert text.count("  quaternion_u8_w8(") == 4
    assert text.count("  strip_row_apart(") == 3
    assert text.count("  side_by_side_u8(") == 2
    assert text.count("  side_by_side_s16(") == 1


@pytest.mark.parametrize("target", TARGETS)
def test_one_and_three_axes_and_16_bits(tmp_path: Path, target: str) -> None:
    network = Network({"line": image(4, 13), "volume": image(2, 4, 3, 5), "wide": image(4, 4, 5, dtype=np.int16)})
    conv(network, "line", weights(5, 4, 3), pads=[2, 1])
    conv(network, "line", weights(5, 4, 3), strides=[2])
    conv(network, "volume", weights(4, 2, 2, 3, 2), pads=[1, 1, 0, 0, 1, 1], strides=[1, 2, 2], dilations=[2, 1, 1])
    conv(network, "volume", weights(4, 1, 2, 2, 2), group=2)
    wide = {"x_zero_point": 0, "shift": 30}
    conv(network, "wide", weights(4, 4, 3, 3), pads=[1, 1, 1, 1], **wide)
    conv(network, "wide", weights(4, 1, 2, 2), group=4, **wide)
    conv(network, "wide", weights(4, 2, 2, 2), group=2, **wide)
    conv(network, "wide", quaternion(16, 1, 2, 2), **wide)
    network.check(tmp_path, target=target)


def test_pools(tmp_path: Path) -> None:
    network = Network({"x": image(5, 7, 6), "wide": image(3, 9, dtype=np.int16)})
    plain = {"strides": [2, 2], "pads": [0, 0, 0, 0], "dilations": [1, 1]}
    network.add("MaxPool", {"x": "x"}, kernel=[2, 2], **plain)
    network.add("MaxPool", {"x": "x"}, kernel=[3, 2], **{**plain, "pads": [2, 1, 1, 0], "dilations": [1, 3]})
    network.add("MaxPool", {"x": "wide"}, kernel=[3], strides=[1], pads=[1, 1], dilations=[2])
    rounding = {"x_zero_point": 7, "shift": 20, "y_zero_point": 9, "low": 0, "high": 255, "dtype": 2}
    one, each = np.array([2**20 // 6], np.int32), (2**20 // np.arange(1, 10)).astype(np.int32)
    average = {"strides": [2, 2], "pads": [1, 1, 1, 1], **rounding}
    network.add("AveragePool", {"x": "x", "m": each}, kernel=[3, 3], counted=[0, 0, 0, 0], **average)
    network.add("AveragePool", {"x": "x", "m": each}, kernel=[3, 3], counted=[1, 0, 0, 1], **average)
    network.add("AveragePool", {"x": "x", "m": one}, kernel=[2, 3], counted=[1, 1, 1, 1], **average)
    wide = {**rounding, "x_zero_point": 0, "y_zero_point": 0, "low": -(2**15), "high": 2**15 - 1, "dtype": 5}
    network.add("AveragePool", {"x": "wide", "m": one}, kernel=[4], strides=[1], pads=[0, 0], counted=[0, 0], **wide)
    network.add("GlobalAveragePool", {"x": "x", "m": np.array([2**20 // 42], np.int32)}, **rounding)
    network.add("GlobalMaxPool", {"x": "x"})
    network.add("Pad", {"x": "x"}, pads=[0, 2, 1, 0], zero_point=11)
    network.add("Pad", {"x": "wide"}, pads=[1, 2], zero_point=-5)
    network.check(tmp_path, target="generic")


@pytest.mark.parametrize("dtype", [2, 5])
def test_a_pool_takes_the_rows_of_its_convolution(tmp_path: Path, dtype: int) -> None:
    """No image stands between them; where rows belong to two windows, or another layer reads them, one does."""
    network = Network({"x": image(3, 7, 11), "volume": image(2, 4, 5, 6)})
    wide = {"dtype": 5, "y_zero_point": 0, "low": -(2**15), "high": 2**15 - 1, "shift": 16} if dtype == 5 else {}
    pool = {"strides": [2, 2], "pads": [0, 0, 0, 0], "dilations": [1, 1]}
    a = conv(network, "x", weights(5, 3, 3, 3), pads=[1, 1, 1, 1], output=False, **wide)
    network.add("MaxPool", {"x": a}, kernel=[2, 2], **pool)
    b = conv(network, "x", quaternion(4, 3, 2, 2)[:, :3], output=False, **wide)
    network.add("MaxPool", {"x": b}, kernel=[1, 3], **pool)
    c = conv(network, "volume", weights(4, 2, 2, 2, 2), output=False, **wide)
    network.add("MaxPool", {"x": c}, kernel=[2, 2, 3], strides=[2, 2, 1], pads=[0] * 6, dilations=[1] * 3)
    overlapping = conv(network, "x", weights(4, 3, 1, 1), output=False, **wide)
    network.add("MaxPool", {"x": overlapping}, kernel=[3, 2], **pool)
    seen = conv(network, "x", weights(3, 3, 1, 1), **wide)
    network.add("MaxPool", {"x": seen}, kernel=[2, 2], **pool)
    text = network.check(tmp_path, target="generic")
    assert text.count("then the largest of each window") == 3
    assert text.count(": MaxPool.") == 2


@pytest.mark.parametrize("hamilton", [False, True])
def test_a_flattened_image_meets_columns_in_its_own_order(tmp_path: Path, hamilton: bool) -> None:
    """Nothing is moved before the Linear, but for quaternions, whose parts come together."""
    network = Network({"x": image(3, 5, 6)})
    a = conv(network, "x", weights(8, 3, 3, 3), output=False)
    flat = network.add("Flatten", {"x": a}, output=False)
    weight = quaternion(16, 24) if hamilton else weights(7, 96)
    network.add(
        "Linear",
        {
            "x": flat,
            "weight": weight,
            "bias": np.arange(len(weight), dtype=np.int32),
            "multiplier": np.array([1], np.int32),
        },
        x_zero_point=5,
        shift=0,
        y_zero_point=0,
        low=-(2**31),
        high=2**31 - 1,
        dtype=6,
    )
    text = network.check(tmp_path, target="host")
    calls = text[text.index("static void run(") :]
    assert ("quaternion_u8_w8(" in text) == hamilton
    assert calls.count("layer_") == (4 if hamilton else 3)


def test_operators_between_images_keep_their_order(tmp_path: Path) -> None:
    """Sums, tables and what moves channels follow the convolution; a Reshape needs the order of the file."""
    network = Network({"x": image(4, 5, 6)})
    a = conv(network, "x", weights(8, 4, 3, 3), pads=[1, 1, 1, 1], output=False)
    b = conv(network, "x", weights(8, 4, 1, 1), output=False)
    bounds = {"shift": 15, "y_zero_point": 100, "low": 0, "high": 255, "dtype": 2}
    zeros = {"a_zero_point": 128, "b_zero_point": 127}
    s = network.add("Add", {"a": a, "b": b}, a_multiplier=20000, b_multiplier=-9000, **zeros, **bounds)
    mean = network.add(
        "GlobalAveragePool", {"x": a, "m": np.array([1000], np.int32)}, **{**bounds, "x_zero_point": 128}, output=False
    )
    network.add("Mul", {"a": s, "b": mean}, multiplier=300, **zeros, **bounds)
    network.add("Add", {"a": s, "b": image(8, 1, 1)}, a_multiplier=20000, b_multiplier=9000, **zeros, **bounds)
    network.add("Table", {"x": s, "entries": np.random.default_rng(0).integers(0, 256, 256).astype(np.uint8)})
    network.add("Gather", {"x": s, "i": np.array([7, 0, -2, 3, 3])}, axis=1)
    network.add("Gather", {"x": s, "i": np.array([4, 1])}, axis=2)
    network.add("Gather", {"x": s, "i": np.array(-1)}, axis=1)
    joined = network.add("Concat", {"a": s, "b": b, "c": a}, axis=1)
    network.add(
        "Slice",
        {"x": joined, "a": np.array([20, 1]), "b": np.array([3, 5]), "c": np.array([1, 3]), "d": np.array([-3, 2])},
    )
    network.add("Reshape", {"x": s, "shape": np.array([0, 4, 2, 5, 6])})
    network.add("Transpose", {"x": s}, perm=[0, 3, 1, 2])
    network.add("Clip", {"x": s}, low=40, high=160)
    network.add("Relu", {"x": s}, zero_point=90)
    network.add(
        "PRelu",
        {"x": s, "slopes": np.arange(-3, 5, dtype=np.int32) * 5000},
        x_zero_point=90,
        multiplier=30000,
        **bounds,
    )
    affine = {"x_zero_point": 90, "trailing": 2, **bounds}
    factors = np.arange(-4, 4, dtype=np.int32)
    network.add("ChannelAffine", {"x": s, "m": factors * 9000, "a": factors * 70000}, **affine)
    matrix = np.random.default_rng(2).integers(-(2**14) + 1, 2**14, (2, 4, 4)).astype(np.int16)
    network.add("QuaternionAffine", {"x": s, "m": matrix, "a": factors.reshape(4, 2) * 70000}, **affine)
    network.add("Requantize", {"x": s, "m": np.array([23456], np.int32)}, x_zero_point=90, **bounds)
    network.add("Requantize", {"x": s, "m": np.array([0, 9, 50000, 3, -70000, 1], np.int32)}, x_zero_point=90, **bounds)
    assert "rounded_s32(" in network.check(tmp_path, target="generic")


def test_single_values_of_16_bits(tmp_path: Path) -> None:
    network = Network({"x": image(6, dtype=np.int16), "y": image(6)})
    wide = {"shift": 14, "y_zero_point": 0, "low": -(2**15), "high": 2**15 - 1, "dtype": 5}
    zeros = {"a_zero_point": 0, "b_zero_point": 77}
    network.add("Add", {"a": "x", "b": "y"}, a_multiplier=32767, b_multiplier=32767, **zeros, **wide)
    network.add("Mul", {"a": "x", "b": "y"}, multiplier=2**31 - 1, **{**wide, "shift": 46}, **zeros)
    network.add("ModRelu", {"x": "x", "bias": np.array([5, -5, 2**24 - 1, 1 - 2**24, 0, -30000], np.int32)})
    network.add("Relu", {"x": "x"}, zero_point=0)
    index = network.add(
        "Requantize", {"x": "x", "m": np.array([1], np.int32)}, x_zero_point=0, **{**wide, "shift": 8, "high": 127}
    )
    network.add("Table", {"x": index, "entries": np.arange(256, dtype=np.int16)[::-1] * 100})
    network.add("Tile", {"x": "y", "r": np.array([1, 3])})
    network.add("Expand", {"x": "y", "s": np.array([1, 4, 1, 6])})
    assert " rounded(" in network.check(tmp_path, target="generic")


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_rows_of_a_table(tmp_path: Path, kind: type[np.generic]) -> None:
    network = Network({"i": np.array([0, 3, 8, 5], kind)})
    rows = {"weight": weights(9, 5), "m": np.arange(9, dtype=np.int32) * 100}
    bounds = {"shift": 8, "low": 0, "high": 255}
    network.add("Embedding", {"i": "i", **rows}, **bounds, y_zero_point=128, dtype=2)
    network.add(
        "Embedding", {"i": "i", **rows}, **{**bounds, "low": -(2**15), "high": 2**15 - 1}, y_zero_point=0, dtype=5
    )
    network.add("Embedding", {"i": "i", **rows, "m": np.array([77], np.int32)}, **bounds, y_zero_point=0, dtype=5)
    network.check(tmp_path, target="generic", samples=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize("hamilton", [False, True])
def test_sparse_weights_take_no_room_for_zeros(tmp_path: Path, dtype: type[np.generic], hamilton: bool) -> None:
    """Where no vector instructions read the zeros faster; gaps of more than a byte, and rows of zeros."""
    network = Network({"x": image(4 * 530, dtype=dtype)})
    generator = np.random.default_rng(3)
    components = np.where(generator.random((4, 7, 530)) < 0.02, weights(4, 7, 530), 0).astype(np.int8)
    components[:, 2] = 0
    components[0, 1, :520] = 0
    weight = hamilton_matrix(Node("w"), *components, grouping="blocked")[0]
    if not hamilton:
        weight[0, -1] = 1
    network.add(
        "Linear",
        {"x": "x", "weight": weight, "bias": np.arange(28, dtype=np.int32), "multiplier": np.array([1], np.int32)},
        x_zero_point=5 if dtype is np.uint8 else 0,
        shift=0,
        y_zero_point=0,
        low=-(2**31),
        high=2**31 - 1,
        dtype=6,
    )
    text = network.check(tmp_path, target="generic")
    kind = "u8" if dtype is np.uint8 else "s16"
    assert (f"sparse_quaternion_{kind}(" if hamilton else f"sparse_{kind}(") in text


def frames(*, whole: bool) -> tuple[onnx.ModelProto, Manifest]:
    """A classifier of images that come one after the other: their axis of samples counts the steps."""
    network = Network({"x": image(3, 6, 7)})
    a = conv(network, "x", weights(4, 3, 3, 3), pads=[1, 1, 1, 1], output=False)
    pool = network.add("MaxPool", {"x": a}, kernel=[2, 2], strides=[2, 2], pads=[0] * 4, dilations=[1, 1], output=False)
    s = network.add(
        "AveragePool",
        {"x": pool, "m": np.array([9000], np.int32)},
        kernel=[2, 2],
        strides=[1, 1],
        pads=[0, 1, 0, 0],
        counted=[0] * 4,
        x_zero_point=128,
        shift=15,
        y_zero_point=90,
        low=0,
        high=255,
        dtype=2,
        output=False,
    )
    g = network.add("GlobalMaxPool", {"x": s})
    flat = network.add("Flatten", {"x": s})
    if whole:
        network.add("TimeMean", {"x": flat}, axis=0)
        network.add("TimeMax", {"x": g}, axis=0)
    model, manifest = network.model()
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "time"
    timed = {"shape": ("time", 3, 6, 7), "time_axis": 0, "batch_axis": None}
    found = ReferenceModel(model).run({"x": network.inputs["x"][None]}).outputs
    outputs = tuple(
        dataclasses.replace(spec, shape=found[spec.name].shape if "time" in spec.name else ("time", *spec.shape[1:]))
        for spec in manifest.outputs
    )
    inputs = (dataclasses.replace(manifest.inputs[0], **timed),)
    return model, dataclasses.replace(manifest, inputs=inputs, outputs=outputs)


@pytest.mark.parametrize("whole", [False, True])
def test_images_that_come_one_after_the_other(tmp_path: Path, whole: bool) -> None:
    model, manifest = frames(whole=whole)
    library, reference = Library(of_model(model, manifest), tmp_path, target="generic"), ReferenceModel(model)
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 6, 7)).astype(np.uint8)
    found, wanted = library.run({"x": x}), reference.run({"x": x}).outputs
    for name, array in wanted.items():
        assert (found[name].reshape(-1) == array.reshape(-1)).all(), name


def test_a_convolution_over_steps_is_refused() -> None:
    network = Network({"x": image(3, 9)})
    conv(network, "x", weights(4, 3, 3), pads=[1, 1])
    model, manifest = network.model()
    timed = dataclasses.replace(manifest.inputs[0], shape=("batch", 3, "time"), time_axis=2)
    with pytest.raises(UnsupportedModelError, match=r"node conv_0 \(Conv\): axis 2 of x counts the steps"):
        c_files(model, dataclasses.replace(manifest, inputs=(timed,)))


@pytest.mark.parametrize("flags", [("-O0",), ("-O0", "-mavx2")])
def test_a_kernel_that_only_another_one_calls_brings_no_warning(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Rows of whole fours: the kernel of one vector is there for the plain path of the other, which AVX2 has no use for."""
    network = Network({"x": image(3, 2, 8)})
    conv(network, "x", weights(4, 3, 1, 1))
    if platform.machine() not in ("x86_64", "AMD64"):
        flags = flags[:1]
    Library(of_model(*network.model()), tmp_path, target="x86-64", flags=flags)
    assert "__attribute__((unused))" in (tmp_path / "model.c").read_text()
