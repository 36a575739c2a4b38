"""Convolutions in LiteRT: quaternion kernels as four components, and layers one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qdeploy.export.tflite.generator import tflite_file
from qdeploy.export.tflite.reader import read_tflite
from qdeploy.runtime.litert_interpreter import RESOLVERS, Border, LitertInterpreter
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.reference import ReferenceModel

pytestmark = pytest.mark.litert

Array = NDArray[Any]
TYPES = {"uint8": 2, "int16": 5}
IMAGE = (8, 7, 6)


@pytest.mark.parametrize(
    ("shape", "kernel", "geometry"),
    [
        ((32, 11), (9,), {"strides": [2], "pads": [3, 4]}),
        ((32, 7, 6), (3, 3), {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}),
        ((32, 5, 4, 5), (2, 1, 5), {"pads": [1, 0, 2, 0, 1, 2]}),
    ],
)
@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_a_quaternion_kernel_stays_four_components(
    kind: str, shape: tuple[int, ...], kernel: tuple[int, ...], geometry: dict[str, Any]
) -> None:
    weight = quaternion_kernel(4, 8, *kernel)
    model = network(shape, kind, conv(weight, "int16", shift=21 if kind == "uint8" else 28, **geometry))
    content = in_every_resolver(model, shape, kind)
    constants = [tensor.constant_bytes for graph in read_tflite(content, "here").subgraphs for tensor in graph.tensors]
    assert constants.count(weight.size // 16) == 4
    assert max(constants) < weight.size


def test_a_small_quaternion_kernel_is_one_matrix() -> None:
    weight = quaternion_kernel(3, 2, 1, 1)
    content = in_every_resolver(network(IMAGE, "uint8", conv(weight, "int16")), IMAGE, "uint8")
    products = [name for name, _ in read_tflite(content, "here").operators().elements() if name == "BATCH_MATMUL"]
    assert len(products) == 1
    assert read_tflite(content, "here").constants_by_use()["weights"] == weight.size


@pytest.mark.parametrize("kind", ["uint8", "int16"])
@pytest.mark.parametrize("multiple", [1, 3])
def test_kernels_of_one_channel_need_no_product(kind: str, multiple: int) -> None:
    weight = np.random.default_rng(4).integers(-128, 128, (8 * multiple, 1, 3, 2)).astype(np.int8)
    weight[0, 0, 0, 0] = -128
    model = network(IMAGE, kind, conv(weight, "int16", group=8, strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]))
    content = in_every_resolver(model, IMAGE, kind)
    assert not any(name == "BATCH_MATMUL" for name, _ in read_tflite(content, "here").operators())


def test_nothing_is_moved_between_layers_of_images() -> None:
    rng = np.random.default_rng(3)
    weights = [rng.integers(-100, 100, (8, 8, 3, 3)).astype(np.int8) for _ in range(2)]
    pool = onnx.helper.make_node(
        "MaxPool", ["y0"], ["p"], domain="qdeploy", kernel=[2, 2], strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0]
    )
    layers = [conv(weights[0], "uint8", pads=[1] * 4), pool, conv(weights[1], "int16", name="1", x="p")]
    content = in_every_resolver(network(IMAGE, "uint8", *layers), IMAGE, "uint8")
    moved = [name for name, _ in read_tflite(content, "here").operators().elements() if name == "TRANSPOSE"]
    # Channels to the end of the input, and to the second place of the output.
    assert len(moved) == 2


def quaternion_kernel(outputs: int, inputs: int, *kernel: int) -> Array:
    """A random one, ``[4 outputs, 4 inputs, *kernel]``."""
    parts = np.random.default_rng(outputs).integers(-127, 128, (4, outputs, inputs, *kernel)).astype(np.int8)
    by_tap = np.moveaxis(parts.reshape(4, outputs, inputs, -1), 3, 0)
    whole = [OPERATORS["HamiltonMatrix"].meaning(Node("w"), *tap, grouping="blocked")[0] for tap in by_tap]
    return np.stack(whole, -1).reshape(4 * outputs, 4 * inputs, *kernel)


def conv(weight: Array, result: str, *, name: str = "0", x: str = "x", **geometry: Any) -> Any:
    """A layer with results ``y<name>`` of a type, and its constants."""
    rng, rank, bounds = np.random.default_rng(9), weight.ndim - 2, np.iinfo(result)
    wide = result == "int16"
    constants = {
        f"w{name}": weight,
        f"b{name}": rng.integers(-(2**15), 2**15, len(weight)).astype(np.int32),
        f"m{name}": rng.integers(20000, 32768, len(weight)).astype(np.int32),
    }
    attributes: dict[str, Any] = {
        "strides": [1] * rank, "pads": [0] * (2 * rank), "dilations": [1] * rank, "group": 1, "x_zero_point": 11,
        "shift": 20 if wide else 25, "y_zero_point": 0 if wide else 11, "low": int(bounds.min), "high": int(bounds.max),
        "dtype": TYPES[result],
    }  # fmt: skip
    node = onnx.helper.make_node("Conv", [x, *constants], [f"y{name}"], domain="qdeploy", **attributes | geometry)
    return node, constants


def network(shape: tuple[int, ...], kind: str, *layers: Any) -> onnx.ModelProto:
    """Layers one after the other; the last one's type is int16."""
    pairs = [layer if isinstance(layer, tuple) else (layer, {}) for layer in layers]
    nodes, constants = [node for node, _ in pairs], {k: v for _, found in pairs for k, v in found.items()}
    for number, node in enumerate(nodes):
        node.name = f"node_{number}"
    value = onnx.helper.make_tensor_value_info
    y = nodes[-1].output[0]
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [value("x", onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)), ["batch", *shape])],
        [value(y, onnx.TensorProto.INT16, ["batch", *[f"y_{axis}" for axis in range(len(shape))]])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets)


def in_every_resolver(model: onnx.ModelProto, shape: tuple[int, ...], kind: str) -> bytes:
    """The file, which gives the reference's integers with all kernels."""
    bounds = np.iinfo(kind)
    x = np.random.default_rng(7).integers(bounds.min, bounds.max + 1, (1, *shape)).astype(kind)
    x.reshape(-1)[:2] = bounds.min, bounds.max
    manifest = described(model, kind, shape)
    content = tflite_file(model, manifest)
    ((name, expected),) = ReferenceModel(model).run({"x": x}).outputs.items()
    assert np.unique(expected).size > 8
    for resolver in RESOLVERS:
        found = LitertInterpreter(content, Border.of(manifest), resolver=resolver).run({"x": x})[name]
        assert found.dtype == expected.dtype
        assert (found == expected).all(), resolver
    return content


def described(model: onnx.ModelProto, kind: str, shape: tuple[int, ...]) -> Manifest:
    """A manifest of one input and one output."""
    (y,) = (output.name for output in model.graph.output)
    return Manifest(
        schema=1,
        qdeploy="test",
        created_from={},
        recipe={},
        rounding="half_up",
        inputs=(
            InputSpec(
                name="x", float_name="x", dtype=kind, shape=("batch", *shape), scale=1.0, zero_point=11, time_axis=None,
                batch_axis=0,
            ),
        ),
        outputs=(OutputSpec(y, "int16", ("batch", *[f"y_{axis}" for axis in range(len(shape))]), 1.0, 0),),
        states=(),
        tensors={},
        layers=(),
        files={},
    )  # fmt: skip
