"""Convolutions from float to integers: scales, proofs, storage, and how far the integers are from the float network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from qdeploy.capture.passes import canonicalize
from qdeploy.quantize import Recipe, load_recipe
from qdeploy.runtime.errors import AccumulatorOverflowError
from tests.golden.convolutions import CONV_1D, CONV_2D, CONV_3D, INPUTS, QUATERNION, SEPARABLE, SHAPES, TRANSPOSED

from .networks import both, float_model, quantized

DEFAULT = load_recipe("default")
TWO = """
g (float[batch, 4, 6, 6] x) => (float[batch, 8, 4, 4] y)
{
  a = Conv (x, w0, b0)
  y = Relu (a)
}"""


def weights(text: str, seed: int = 3) -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) / 4 for name, shape in SHAPES[text].items()}


def layered(text: str) -> onnx.ModelProto:
    """The network as capture leaves it, constants as initializers."""
    return canonicalize(float_model(text, weights(text))).model


def images(text: str, count: int = 24) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(size=(count, *INPUTS[text])).astype(np.float32)


@pytest.mark.parametrize("text", [CONV_1D, CONV_2D, CONV_3D, QUATERNION, TRANSPOSED, SEPARABLE])
@pytest.mark.parametrize(
    "recipe",
    [
        DEFAULT,
        DEFAULT.changed(multiplier_bits=1),
        DEFAULT.changed(multiplier_bits=31, weight_granularity="per_tensor"),
        DEFAULT.changed(weight_bits=5, activation_bits=7),
    ],
)
def test_integers_follow_the_float_network(text: str, recipe: Recipe) -> None:
    model, x = layered(text), images(text)
    integers = quantized(model, x, recipe)
    real, found, _ = both(model, integers, x)
    noise = float(np.sqrt(((found - real) ** 2).mean() / (real**2).mean()))
    assert noise < (0.04 if recipe.weight_bits == 8 else 0.15)
    for layer in integers.graph.layers:
        assert 8 < layer["accumulator_bits"] <= 32


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_the_storage_does_not_change_the_integers(bits: int) -> None:
    model, x = layered(QUATERNION), images(QUATERNION)
    recipe = DEFAULT.changed(weight_bits=bits)
    compact, expanded = (quantized(model, x, recipe, storage=storage) for storage in ("compact", "expanded"))
    outputs = [both(model, integers, x)[2] for integers in (compact, expanded)]
    assert (outputs[0]["y"] == outputs[1]["y"]).all()
    kernels = [
        sum(np.prod(tensor.dims) for tensor in integers.model.graph.initializer if len(tensor.dims) == 4)
        for integers in (compact, expanded)
    ]
    if bits == 8:
        assert kernels == [4 * 18 + 4 * 18, 4 * (4 * 18 + 4 * 18)]


def test_a_quaternions_four_outputs_share_a_scale() -> None:
    """Also where a group's rows stand apart."""
    integers = quantized(layered(QUATERNION), images(QUATERNION), DEFAULT)
    scales = {name: info["scale"] for name, info in integers.graph.constants_info.items()}
    components = [np.array(scale).reshape(4, -1) for name, scale in scales.items() if name.endswith(".rijk")]
    assert len(components) == 2
    assert all((by_part == by_part[0]).all() for by_part in components)
    grouped = onnx.helper.make_attribute("group", 2)
    (name,) = (node.input[2] for node in integers.model.graph.node if grouped in node.attribute)
    bias = np.array(scales[name]).reshape(2, 4, 1)
    assert (bias == bias[:, :1]).all()
    assert bias[0, 0] != bias[1, 0]


def test_a_relu_is_the_lower_bound() -> None:
    given = {"w0": np.random.default_rng(1).normal(size=(8, 4, 3, 3)), "b0": np.ones(8)}
    integers = quantized(float_model(TWO, given), images(QUATERNION), DEFAULT)
    (node,) = [node for node in integers.model.graph.node if node.op_type == "Conv"]
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    assert attributes["low"] == attributes["y_zero_point"]
    assert list(node.output) == ["y"]
    assert not any(node.op_type == "Relu" for node in integers.model.graph.node)


def test_a_layers_record_counts_every_position() -> None:
    text = CONV_2D
    integers = quantized(layered(text), images(text), DEFAULT)
    records: list[dict[str, Any]] = [layer for layer in integers.graph.layers if layer["operator"] == "Conv"]
    assert [layer["macs"] for layer in records] == [6 * 27 * 8 * 7, 8 * 18 * 4 * 6, 4 * 8 * 4 * 6]
    assert [layer["parameters"] for layer in records] == [162, 144, 32]
    assert records[1]["strides"] == [2, 1]
    assert records[1]["group"] == 2


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    text = "g (float[batch, 8000, 3, 3] x) => (float[batch, 1, 1, 1] y) { y = Conv (x, w0) }"
    model = float_model(text, {"w0": np.ones((1, 8000, 3, 3), np.float32)})
    x = np.random.default_rng(0).random((2, 8000, 3, 3)).astype(np.float32)
    recipe = DEFAULT.changed(recognise_grid=False)
    with pytest.raises(AccumulatorOverflowError, match=r"the accumulator of output 0 could reach 2\.33e\+09"):
        quantized(model, x, recipe)
