"""Convolutions by the standard QLinearConv, by name only: where its single precision is exact, and why not elsewhere."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qdeploy
from qdeploy.capture.session import FloatSession
from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import IntegerModel, load_recipe
from qdeploy.quantize.single_precision import exact_multiplier, few_bits
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.runtime.numeric import dequantize, odd_part, quantize_input
from qdeploy.runtime.reference import ReferenceModel

from .networks import float_model, quantized
from .test_networks import pixels
from .test_short_multipliers import conv_weights

QLINEAR = load_recipe("w7a8").changed(conv_kernels="qlinear")
HEAD = "g (float[batch, 4, 8, 8] x) => (float[batch, 8, 8, 8] y)\n{\n"
REAL = (
    HEAD
    + "a = Conv <pads = [1, 1, 1, 1]> (x, w, b)\n c = Relu (a)\n d = Conv (c, w1)\n e = Relu (d)\n y = Conv (e, w1)\n}"
)
QUATERNION = REAL.replace("a = ", 'w = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (r, i, j, k)\na = ')
GROUPS = (
    HEAD
    + "a = Conv <pads = [1, 1, 1, 1]> (x, w, b)\n c = Relu (a)\n d = Conv <group = %d> (c, wg)\n y = Conv (d, w1)\n}"
)
WIDE = """g (float[batch, 256, 3, 3] x) => (float[batch, 2, 1, 1] y)
{
  a = Conv (x, w)
  b = Relu (a)
  c = Conv (b, w1)
  d = Relu (c)
  y = Conv (d, w1)
}"""
FEATURES = "g (float[batch, 16] x) => (float[batch, 4] y) { y = qdeploy.float.Linear (x, w) }"


def by_name(integers: IntegerModel) -> dict[str, dict[str, Any]]:
    return {layer["name"]: layer for layer in integers.graph.layers}


@pytest.mark.parametrize("quaternion", [False, True])
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_convolutions_between_bytes_are_taken_and_every_runtime_agrees(quaternion: bool, granularity: str) -> None:
    model = float_model(QUATERNION if quaternion else REAL, conv_weights(quaternion=quaternion))
    x = pixels((32, 4, 8, 8))
    integers = quantized(model, x, QLINEAR.changed(weight_granularity=granularity))
    found = [layer for layer in integers.graph.layers if "kernel" in layer]
    # The last one gives 16 bits.
    assert [layer["operator"] for layer in found] == ["QLinearConv", "QLinearConv", "Conv"]
    assert [layer.get("rounding") for layer in found] == ["half_even", "half_even", None]
    assert found[2]["strict_because"] == "it takes uint8 and gives int16"
    assert all(layer["multiplier_error"] < 1e-12 for layer in found[:2])
    complete = attach_bodies(integers.model)
    feeds = {"x": quantize_input(x, integers.graph.types["x"].scale, 0, np.dtype(np.uint8))}
    outputs = ReferenceModel(complete).run(feeds).outputs
    for optimize in (False, True):
        assert (open_engine("onnxruntime", complete, optimize=optimize).run(feeds)["y"] == outputs["y"]).all()
    kind = integers.graph.types["y"]
    real = FloatSession(model).run({"x": x})["y"]
    assert np.abs(real - dequantize(outputs["y"], kind.scale, kind.zero_point)).max() < 0.1 * np.abs(real).max()


@pytest.mark.parametrize(("group", "taken"), [(8, True), (2, False)])
def test_depthwise_kernels_are_taken_and_other_groups_are_not(group: int, taken: bool) -> None:
    rng = np.random.default_rng(3)
    weights = conv_weights(quaternion=False) | {"wg": rng.standard_normal((8, 8 // group, 1, 1))}
    layer = by_name(quantized(float_model(GROUPS % group, weights), pixels((8, 4, 8, 8)), QLINEAR))["conv_2"]
    assert (layer["operator"] == "QLinearConv") == taken
    assert layer.get("strict_because") == (None if taken else "QLinearConv is slow where there are 2 groups")


def test_strict_is_the_default_and_says_nothing_of_it() -> None:
    integers = quantized(float_model(REAL, conv_weights(quaternion=False)), pixels((8, 4, 8, 8)), load_recipe("w7a8"))
    assert {layer["operator"] for layer in integers.graph.layers} == {"Conv"}
    assert not any({"rounding", "strict_because"} & layer.keys() for layer in integers.graph.layers)
    with pytest.raises(InvalidInputError, match=r"conv_kernels='float'; expected one of \['strict', 'qlinear'\]"):
        QLINEAR.changed(conv_kernels="float")


def test_a_network_of_which_no_layer_can_is_refused_with_the_reasons() -> None:
    model, x = float_model(REAL, conv_weights(quaternion=False)), pixels((8, 4, 8, 8))
    with pytest.raises(
        UnsupportedModelError,
        match=r"no convolution of this network can be .*conv_0: weights of 8 bits saturate on some processors \(--recipe w7a8 "
        r"has 7\); .*export with --conv-kernels strict",
    ):
        quantized(model, x, QLINEAR.changed(weight_bits=8))
    weights = conv_weights(quaternion=False)
    step = 2.0**-5 * 1.1
    grids = {name: np.clip(np.rint(weights[name] / step), -8, 7) * step for name in ("w", "w1")}
    with pytest.raises(
        UnsupportedModelError, match="conv_0: a trained grid or a learned algebra fixes its multipliers"
    ):
        quantized(float_model(REAL, weights | grids), x, QLINEAR)
    features = float_model(FEATURES, {"w": np.random.default_rng(0).standard_normal((4, 16))})
    with pytest.raises(
        UnsupportedModelError, match=r"can be a QLinearConv: it has none; export with --conv-kernels strict"
    ):
        quantized(features, pixels((8, 16)), QLINEAR)


def test_sums_beyond_single_precision_keep_their_layer_strict() -> None:
    """2,304 weights of 7 bits that are all large: 2,304 * 63 * 255 is more than 2^24."""
    rng = np.random.default_rng(5)
    weights = {"w": rng.uniform(0.9, 1.0, (2, 256, 3, 3)), "w1": rng.standard_normal((2, 2, 1, 1))}
    model = float_model(WIDE, weights)
    layers = by_name(quantized(model, pixels((8, 256, 3, 3)), QLINEAR))
    assert layers["conv_0"]["operator"] == "Conv"
    assert re.match(
        r"its accumulator times its multiplier could reach \d+,\d+,\d+, and single", layers["conv_0"]["strict_because"]
    )
    assert layers["conv_2"]["operator"] == "QLinearConv"


@given(st.integers(1, 2**24 - 1), st.floats(1e-9, 1.0))
def test_raised_ratios_are_exact_and_lose_at_most_what_their_accumulator_asks(reach: int, ratio: float) -> None:
    (raised,) = few_bits(np.array([ratio]), np.array([float(reach)]))
    assert ratio <= raised <= 2 * ratio
    found = exact_multiplier(np.array([raised]), "node")
    assert found is not None
    assert found.values[0] / 2.0**found.shift == raised
    assert reach * int(odd_part(found.values)[0]) < 2**24
    # Of 24 - k bits of an accumulator, k bits are free for the multiplier, 8 at most.
    bits = min(8, max(1, 24 - math.ceil(math.log2(reach + 1))))
    assert raised / ratio <= 1 + 2.0 ** (1 - bits)


def test_a_bundle_says_that_it_is_not_integer_only(tmp_path: Path) -> None:
    onnx.save(float_model(REAL, conv_weights(quaternion=False)), tmp_path / "float.onnx")
    x = pixels((16, 4, 8, 8))
    bundles = {
        kernels: qdeploy.export_model(
            tmp_path / "float.onnx", tmp_path / kernels, recipe="w7a8", conv_kernels=kernels, calibration={"x": x}
        )
        for kernels in ("strict", "qlinear")
    }
    named = bundles["qlinear"]
    assert named.manifest.recipe["conv_kernels"] == "qlinear"
    assert named.manifest.extra["integer_only"] is False
    assert "integer_only" not in bundles["strict"].manifest.extra
    lines = named.inspect().lines()
    assert any(line.startswith("not integer-only: 2 of its convolutions ") for line in lines)
    assert any(line.endswith("stays integer-only: it takes uint8 and gives int16") for line in lines)
    assert len(named.inspect().to_dict()["not_strict"]) == 2
    report = named.verify(samples=8)
    assert report.passed
    assert any("their bits hold in onnxruntime" in line for line in report.lines())
    assert not any("integer-only" in line for bundle in (bundles["strict"],) for line in bundle.inspect().lines())
