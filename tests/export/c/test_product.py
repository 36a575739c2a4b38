"""Layers made by hand: extremes that trained networks do not reach."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdeploy.export.c import c_files
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec, StateSpec
from qdeploy.runtime.ops import DOMAIN
from qdeploy.runtime.ops.hadamard_matrix import hadamard_transform
from qdeploy.runtime.reference import ReferenceModel

from .running import Library, of_model


def linear(weight: np.ndarray, zero_point: int) -> tuple[onnx.ModelProto, Manifest]:
    """One Linear of uint8 that hands over its accumulator."""
    outputs, inputs = weight.shape
    constants = [
        onnx.numpy_helper.from_array(weight, "weight"),
        onnx.numpy_helper.from_array(np.arange(outputs, dtype=np.int32) * 1000, "bias"),
        onnx.numpy_helper.from_array(np.array([1], np.int32), "multiplier"),
    ]
    attributes = {
        "x_zero_point": zero_point,
        "shift": 0,
        "y_zero_point": 0,
        "low": -(2**31),
        "high": 2**31 - 1,
        "dtype": 6,
    }
    node = onnx.helper.make_node(
        "Linear", ["x", "weight", "bias", "multiplier"], ["y"], name="layer", domain=DOMAIN, **attributes
    )
    graph = onnx.helper.make_graph(
        [node],
        "one layer",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["batch", inputs])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ["batch", outputs])],
        constants,
    )
    manifest = Manifest(
        schema=1,
        qdeploy="test",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(InputSpec("x", "x", "uint8", ("batch", inputs), 1.0, zero_point, batch_axis=0),),
        outputs=(OutputSpec("y", "int32", ("batch", outputs), 1.0, 0),),
        states=(),
        tensors={},
        layers=(),
        files={},
    )
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAIN, 1)]
    return onnx.helper.make_model(graph, opset_imports=imports), manifest


@pytest.mark.parametrize("target", ["generic", "host", "pi4"])
def test_a_matrix_whose_lowest_weights_look_like_quaternions(tmp_path: Path, target: str) -> None:
    """The places of -128 form a Hamilton matrix of zeros; the product of them still goes into a real accumulator."""
    weight = np.random.default_rng(0).integers(-100, 100, (20, 8)).astype(np.int8)
    weight[[0, 5, 10, 15], [0, 2, 4, 6]] = -128
    model, manifest = linear(weight, 3)
    library, reference = Library(of_model(model, manifest), tmp_path, target=target), ReferenceModel(model)
    feeds = {"x": np.arange(0, 256, 32, dtype=np.uint8)[None]}
    assert (library.run(feeds)["y"] == reference.run(feeds).outputs["y"]).all()
    assert b"quaternion_u8" not in c_files(model, manifest, target)["model.c"]


@pytest.mark.parametrize("target", ["generic", "host", "pi4"])
@pytest.mark.parametrize("low", [-128, -127, -8, -1])
def test_weights_and_inputs_at_their_bounds(tmp_path: Path, low: int, target: str) -> None:
    """Storage of 8, 4 and 2 bits, layouts with and without an offset; rows and columns that need padding."""
    generator = np.random.default_rng(-low)
    weight = np.where(generator.random((19, 37)) < 0.5, low, -1 - low).astype(np.int8)
    model, manifest = linear(weight, 128)
    library, reference = Library(of_model(model, manifest), tmp_path, target=target), ReferenceModel(model)
    for x in (np.zeros(37), np.full(37, 255), generator.choice([0, 255], 37), generator.integers(0, 256, 37)):
        feeds = {"x": x.astype(np.uint8)[None]}
        assert (library.run(feeds)["y"] == reference.run(feeds).outputs["y"]).all()


@pytest.mark.parametrize("target", ["generic", "host", "pi4"])
@pytest.mark.parametrize(("size", "block"), [(8, 8), (24, 8), (64, 64)])
def test_hadamard_matrices_are_transformed(tmp_path: Path, size: int, block: int, target: str) -> None:
    """One bit a row is all that is stored of the weight; sizes that need padding, too."""
    generator = np.random.default_rng(size)
    signs = generator.choice([-1, 1], size).astype(np.int8)
    blocks = np.kron(np.eye(size // block, dtype=np.int8), hadamard_transform(np.eye(block, dtype=np.int8)))
    model, manifest = linear(signs[:, None] * blocks, 7)
    source = c_files(model, manifest, target)["model.c"]
    assert b"layer_weight_signs" in source
    assert b"matvec" not in source
    library, reference = Library(of_model(model, manifest), tmp_path, target=target), ReferenceModel(model)
    for x in (np.zeros(size), np.full(size, 255), generator.integers(0, 256, size)):
        feeds = {"x": x.astype(np.uint8)[None]}
        assert (library.run(feeds)["y"] == reference.run(feeds).outputs["y"]).all()


def test_other_matrices_of_signs_are_multiplied() -> None:
    weight = hadamard_transform(np.eye(64, dtype=np.int8))
    weight[5, 9] *= -1
    assert b"hadamard" not in c_files(*linear(weight, 7), "host")["model.c"]


@pytest.mark.cc
@pytest.mark.parametrize(("recurrent_shift", "input_shift"), [(0, 2), (2, 0)])
def test_rows_of_a_sparse_product_and_of_tiles_share_an_accumulator(
    tmp_path: Path, recurrent_shift: int, input_shift: int
) -> None:
    """W is stored without its zeros, 22 rows, U in tiles of 24 rows: the bias and the accumulator have room for both."""
    hidden, inputs = 22, 5
    generator = np.random.default_rng(0)
    recurrent = np.zeros((hidden, hidden), np.int8)
    recurrent[np.arange(hidden), generator.permutation(hidden)] = generator.integers(1, 8, hidden)
    constants = {
        "U": generator.integers(-7, 8, (hidden, inputs)).astype(np.int8),
        "W": recurrent,
        "b": generator.integers(-300, 300, hidden).astype(np.int32),
        "m": np.array([19661], np.int32),
    }
    node = onnx.helper.make_node(
        "RNN", ["x", "h", "U", "W", "b", "m"], ["y", "h_out"], name="rnn", domain=DOMAIN,
        activation="relu", x_zero_point=3, h_zero_point=0, input_shift=input_shift, recurrent_shift=recurrent_shift,
        shift=17, low=0, high=255, dtype=onnx.TensorProto.UINT8,
    )  # fmt: skip
    value, byte = onnx.helper.make_tensor_value_info, onnx.TensorProto.UINT8
    graph = onnx.helper.make_graph(
        [node],
        "loop",
        [value("x", byte, ["time", "batch", inputs]), value("h", byte, ["batch", hidden])],
        [value("y", byte, ["time", "batch", hidden]), value("h_out", byte, ["batch", hidden])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAIN, 1)]
    model = onnx.helper.make_model(graph, opset_imports=imports)
    manifest = Manifest(
        schema=1,
        qdeploy="test",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(InputSpec("x", "x", "uint8", ("time", "batch", inputs), 1.0, 3, time_axis=0, batch_axis=1),),
        outputs=(OutputSpec("y", "uint8", ("time", "batch", hidden), 1.0, 0),),
        states=(StateSpec("h", "h_out", "uint8", ("batch", hidden), 1.0, 0, 8),),
        tensors={},
        layers=(),
        files={},
    )
    text = c_files(model, manifest, "generic")["model.c"].decode()
    assert "sparse_u8(accumulator" in text
    ((name, count),) = re.findall(r"shift_and_add\(accumulator, 2, (\w+), (\d+)\)", text)
    assert int(count) == 24
    assert f"{name}[24]" in text
    feeds = {
        "x": generator.integers(0, 256, (6, 1, inputs)).astype(np.uint8),
        "h": generator.integers(0, 256, (1, hidden)).astype(np.uint8),
    }
    found = Library(of_model(model, manifest), tmp_path, target="generic").run(feeds)
    for tensor, expected in ReferenceModel(model).run(feeds).outputs.items():
        assert (found[tensor] == expected).all(), tensor
