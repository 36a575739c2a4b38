"""Pools, pads and concatenations of images: integers follow the float network, at the least cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.quantize import Recipe
from qdeploy.runtime.errors import AccumulatorOverflowError, UnsupportedModelError

from .networks import both, float_model, quantized

CONV = "a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)"
IMAGE = (4, 7, 6)
Array = np.ndarray[Any, Any]


def network(nodes: str, outputs: str = "float[batch, c, h, v] y", **more: Array) -> onnx.ModelProto:
    """A convolution of three channels to four, and ``nodes`` behind it."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 4, 3, 3)) / 3, "b": rng.normal(size=4) / 3} | more
    text = f"g (float[batch, 4, 7, 6] x) => ({outputs})\n{{\n{CONV}\n{nodes}\n}}"
    return float_model(text, weights)


def images(count: int = 40) -> Array:
    return (np.random.default_rng(1).integers(0, 256, (count, *IMAGE)) / 256).astype(np.float32)


def attributes(integers: Any, operator: str) -> dict[str, Any]:
    (node,) = [node for node in integers.model.graph.node if node.op_type == operator]
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


POOLS = {
    "maximum": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)",
    "maximum, overlapping": "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (a)",
    "maximum, dilated": "y = MaxPool <kernel_shape = [2, 3], dilations = [2, 1]> (a)",
    "maximum, ceil": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (a)",
    "mean": "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (a)",
    "mean, pads count": (
        "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (a)"
    ),
    "mean, pads left out": "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (a)",
    "mean, ceil": "y = AveragePool <kernel_shape = [2, 3], strides = [2, 2], ceil_mode = 1> (a)",
    "mean, ceil, pads count": (
        "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 0, 0], ceil_mode = 1, "
        "count_include_pad = 1> (a)"
    ),
    "mean, rectified": "m = AveragePool <kernel_shape = [2, 2]> (a)\n y = Relu (m)",
    "global maximum": "y = GlobalMaxPool (a)",
    "global mean": "y = GlobalAveragePool (a)",
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("multiplier_bits", [15, 31])
def test_integers_follow_the_float_pool(name: str, multiplier_bits: int) -> None:
    model, x = network(POOLS[name]), images()
    integers = quantized(model, x, Recipe("t", "", multiplier_bits=multiplier_bits))
    assert len(integers.model.graph.node) == 2
    expected, found, _ = both(model, integers, x)
    assert found.shape == expected.shape
    # The convolution's weights are off by up to half a step of 127, its output by half of one of 255.
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max() + 0.01


@pytest.mark.parametrize("name", ["maximum", "mean", "mean, pads count", "global maximum"])
def test_powers_of_two_serve_pools_with_one_number_of_places(name: str) -> None:
    model, x = network(POOLS[name]), images()
    integers = quantized(model, x, Recipe("t", "", multiplier_bits=1))
    expected, found, _ = both(model, integers, x)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max() + 0.02
    for array in integers.model.graph.initializer:
        if "multiplier" in array.name:
            values = onnx.numpy_helper.to_array(array)
            assert (values & (values - 1) == 0).all()


def test_numbers_of_places_that_are_no_powers_of_two_of_each_other_are_told() -> None:
    with pytest.raises(UnsupportedModelError, match="no power of two"):
        quantized(network(POOLS["mean, pads left out"]), images(), Recipe("t", "", multiplier_bits=1))


def test_windows_with_the_same_number_of_places_have_one_multiplier() -> None:
    """Pads that count, and pads that no window meets, need no list."""
    sizes = {}
    for name in ("mean", "mean, pads count", "mean, pads left out"):
        integers = quantized(network(POOLS[name]), images(), Recipe("t", ""))
        sizes[name] = {t.name: t.dims for t in integers.model.graph.initializer}
    counts = [next(dims[0] for key, dims in found.items() if "multipliers" in key) for found in sizes.values()]
    assert counts == [1, 1, 9]


def test_a_maximum_that_leaves_the_network_keeps_sixteen_bits() -> None:
    integers = quantized(network(POOLS["maximum, ceil"]), images(), Recipe("t", ""))
    assert attributes(integers, "Conv")["dtype"] == onnx.TensorProto.INT16
    assert integers.graph.types["y"].bits == 16
    assert attributes(integers, "MaxPool")["pads"] == [0, 0, 1, 0]


def test_a_mean_has_the_range_of_the_means() -> None:
    """They spread less than what they are of: 8 bits are finer there."""
    model = network("m = GlobalAveragePool (a)\n y = Conv <kernel_shape = [1, 1]> (m, v)", v=np.ones((2, 4, 1, 1)))
    integers = quantized(model, images(), Recipe("t", ""))
    assert integers.graph.types["m"].dtype == "uint8"
    assert integers.graph.types["m"].scale < 0.7 * integers.graph.types["a"].scale


def test_a_sum_that_int32_may_not_hold_is_refused() -> None:
    """The mean of an image of 2^23 numbers; calibration sees a small one, of the size that it says."""
    from qdeploy.calibration import calibrate
    from qdeploy.quantize import quantize

    model = network(POOLS["global mean"])
    calibration = calibrate(model, {"x": images()}, {"x": 0})
    calibration["a"].sizes = (1, 4, 4096, 4096)
    with pytest.raises(AccumulatorOverflowError, match="pool in two steps"):
        quantize(model, calibration, Recipe("t", ""))


def test_operands_of_a_concatenation_get_its_type() -> None:
    """Two convolutions and a pool, chained concatenations: no Requantize."""
    nodes = """
    r = Relu (a)
    s = Conv <kernel_shape = [1, 1]> (x, v)
    m = MaxPool <kernel_shape = [1, 1]> (s)
    first = Concat <axis = 1> (m, r)
    t = Conv <kernel_shape = [1, 1]> (x, v)
    both = Concat <axis = 1> (first, t)
    y = Conv <kernel_shape = [1, 1]> (both, z)"""
    rng = np.random.default_rng(3)
    model = network(nodes, v=rng.normal(size=(2, 4, 1, 1)), z=rng.normal(size=(3, 8, 1, 1)))
    x = images()
    integers = quantized(model, x, Recipe("t", ""))
    operators = [node.op_type for node in integers.model.graph.node]
    assert sorted(operators) == ["Concat", "Concat", "Conv", "Conv", "Conv", "Conv", "MaxPool"]
    expected, found, _ = both(model, integers, x)
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("behind", ["Relu", "Identity"])
def test_residual_sums_of_images(projected: bool, behind: str) -> None:
    """Branches of different scales, one of them the input or a projection of it, with and without a Relu."""
    shortcut = "s = Conv <kernel_shape = [1, 1]> (x, v)" if projected else "s = Identity (x)"
    nodes = f"{shortcut}\n t = Add (a, s)\n r = {behind} (t)\n y = Conv <kernel_shape = [1, 1]> (r, v)"
    v = 4 * np.random.default_rng(2).normal(size=(4, 4, 1, 1))
    model, x = network(nodes, v=v), images()
    integers = quantized(model, x, Recipe("t", ""))
    scales = integers.graph.types
    assert scales["a"].scale != scales["s"].scale
    expected, found, _ = both(model, integers, x)
    # Four rounded sums of weights up to ten.
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_zeros_around_an_image_are_its_zero_point() -> None:
    """Also where they are the largest of a window, which onnxruntime's fusion of both floats gets wrong."""
    pads = np.array([0, 0, 1, 0, 0, 0, 2, 1])
    model = network("p = Pad (a, around)\n y = MaxPool <kernel_shape = [3, 3]> (p)", around=pads)
    x = images()
    integers = quantized(model, x, Recipe("t", ""))
    assert attributes(integers, "Pad")["pads"] == [1, 0, 2, 1]
    expected, found, _ = both(model, integers, x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
