"""Convolutions and pools in LiteRT: windows of every geometry, quaternion kernels as four components, layers one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.generator import SIGNATURE, tflite_file
from qdeploy.export.tflite.reader import read_tflite
from qdeploy.export.tflite.writer import ModelWriter
from qdeploy.runtime.hamilton_product import components_of
from qdeploy.runtime.litert_interpreter import RESOLVERS, Border, LitertInterpreter
from qdeploy.runtime.manifest import InputSpec, Manifest, OutputSpec
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.reference import ReferenceModel
from tests.ops.test_conv import layer

pytestmark = pytest.mark.litert


def quaternion_kernel(outputs: int, inputs: int, *kernel: int) -> NDArray[np.int8]:
    """A random one, ``[4 outputs, 4 inputs, *kernel]``."""
    parts = np.random.default_rng(outputs).integers(-127, 128, (4, outputs, inputs, *kernel)).astype(np.int8)
    by_tap = np.moveaxis(parts.reshape(4, outputs, inputs, -1), 3, 0)
    whole = [OPERATORS["HamiltonMatrix"].meaning(Node("w"), *tap, grouping="blocked")[0] for tap in by_tap]
    return np.stack(whole, -1).reshape(4 * outputs, 4 * inputs, *kernel)


@pytest.mark.parametrize(
    ("shape", "kernel", "geometry"),
    [
        ((8, 11), (9,), {"strides": [2], "pads": [3, 4]}),
        ((8, 7, 6), (3, 3), {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}),
        ((8, 5, 4, 5), (2, 1, 5), {"pads": [1, 0, 2, 0, 1, 2]}),
    ],
)
@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_a_quaternion_kernel_is_four_images_times_four_components(
    kind: str, shape: tuple[int, ...], kernel: tuple[int, ...], geometry: dict[str, Any]
) -> None:
    weight = quaternion_kernel(3, 2, *kernel)
    by_part = weight.reshape(12, 4, 2, -1).transpose(0, 1, 3, 2).reshape(12, -1)
    assert components_of(by_part) is not None
    rng = np.random.default_rng(7)
    low = 0 if kind == "uint8" else -3000
    x = rng.integers(low, low + 256 if kind == "uint8" else 3000, (1, *shape)).astype(kind)
    multiplier = rng.integers(20000, 32768, 12)
    bias = rng.integers(-(2**18), 2**18, 12)
    model = layer(
        x, weight, b=bias, m=multiplier, y="int16", shift=29, x_zero_point=11 if kind == "uint8" else 0, **geometry
    )
    found = in_every_resolver(model, {"x": x})
    assert np.unique(found).size > 20
    assert not any(stored(model, size) for size in (weight.size, weight.size - 1))


def stored(model: onnx.ModelProto, size: int) -> bool:
    """Whether the file holds so many bytes as one constant."""
    return any(tensor.bytes == size for tensor in read_constants(model))


def in_every_resolver(model: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The only output, which is the reference's with all kernels."""
    manifest = described(model, feeds)
    content = tflite_file(model, manifest)
    ((name, expected),) = ReferenceModel(model).run(feeds).outputs.items()
    for resolver in RESOLVERS:
        found = LitertInterpreter(content, Border.of(manifest), resolver=resolver).run(feeds)[name]
        assert found.dtype == expected.dtype
        assert (found == expected).all(), resolver
    return expected
