"""Layers by LiteRT's own kernels, on request only: which take their rounding, why others do not, and every runtime agrees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy
from qdeploy.capture.session import FloatSession
from qdeploy.export.onnx import attach_bodies, check_integer_only
from qdeploy.quantize import IntegerModel, load_recipe
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.runtime.reference import ReferenceModel

from .networks import float_model, quantized
from .test_networks import pixels
from .test_short_multipliers import conv_weights
from .test_single_precision import FEATURES, GROUPS, QUATERNION, REAL, WIDE

BUILTIN = load_recipe("default").changed(tflite_kernels="builtin")
NORMALIZED = QUATERNION.replace(
    "c = Relu (a)", "n = qdeploy.float.ChannelAffine <trailing = 2> (a, s, t)\n c = Relu (n)"
)
MLP = """g (float[batch, 16] x) => (float[batch, 4] y) {
  a = qdeploy.float.Linear (x, v)
  b = Relu (a)
  y = qdeploy.float.Linear (b, w)
}"""


def by_name(integers: IntegerModel) -> dict[str, dict[str, Any]]:
    return {layer["name"]: layer for layer in integers.graph.layers}


@pytest.mark.parametrize("quaternion", [False, True])
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_layers_between_bytes_take_the_rounding_and_stay_integer_only(quaternion: bool, granularity: str) -> None:
    model = float_model(QUATERNION if quaternion else REAL, conv_weights(quaternion=quaternion))
    x = pixels((32, 4, 8, 8))
    integers = quantized(model, x, BUILTIN.changed(weight_granularity=granularity))
    found = [layer for layer in integers.graph.layers if "kernel" in layer]
    assert [layer["operator"] for layer in found] == ["Conv"] * 3
    # The last one gives 16 bits.
    assert [layer.get("rounding") for layer in found] == ["half_even", "half_even", None]
    assert found[2]["portable_because"] == "it takes uint8 and gives int16"
    assert all(layer["multiplier_error"] < 1e-12 for layer in found[:2])
    complete = attach_bodies(integers.model)
    check_integer_only(complete)
    feeds = {"x": quantize_input(x, integers.graph.types["x"].scale, 0, np.dtype(np.uint8))}
    outputs = ReferenceModel(complete).run(feeds).outputs
    for optimize in (False, True):
        assert (open_engine("onnxruntime", complete, optimize=optimize).run(feeds)["y"] == outputs["y"]).all()
    kind = integers.graph.types["y"]
    real = FloatSession(model).run({"x": x})["y"]
    assert np.abs(real - dequantize(outputs["y"], kind.scale, kind.zero_point)).max() < 0.05 * np.abs(real).max()


def test_linear_layers_take_it_too() -> None:
    rng = np.random.default_rng(0)
    weights = {"v": rng.standard_normal((16, 16)), "w": rng.standard_normal((4, 16))}
    layers = by_name(quantized(float_model(MLP, weights), pixels((32, 16)), BUILTIN))
    assert [layer.get("rounding") for layer in layers.values()] == ["half_even", None]


@pytest.mark.parametrize("group", [8, 2])
def test_groups_take_it_too(group: int) -> None:
    rng = np.random.default_rng(3)
    weights = conv_weights(quaternion=False) | {"wg": rng.standard_normal((8, 8 // group, 1, 1))}
    layer = by_name(quantized(float_model(GROUPS % group, weights), pixels((8, 4, 8, 8)), BUILTIN))["conv_2"]
    assert layer["rounding"] == "half_even"
    assert "portable_because" not in layer


def test_sums_that_saturate_need_not_fit_single_precision() -> None:
    """2,304 weights whose positive ones times 255 are more than 2^24, and far beyond what y holds; all positive, y holds it."""
    rng = np.random.default_rng(5)
    weights = {"w": rng.uniform(-1.0, 1.0, (2, 256, 3, 3)), "w1": rng.standard_normal((2, 2, 1, 1))}
    x = pixels((8, 256, 3, 3))
    layers = by_name(quantized(float_model(WIDE, weights), x, BUILTIN))
    assert layers["conv_0"]["rounding"] == "half_even"
    assert layers["conv_0"]["accumulator_bits"] > 25
    layers = by_name(quantized(float_model(WIDE, weights | {"w": abs(weights["w"])}), x, BUILTIN))
    assert re.match(r"its accumulator times its multiplier could reach \d+,", layers["conv_0"]["portable_because"])


def test_a_batch_normalization_in_the_multipliers_keeps_its_layer_portable() -> None:
    rng = np.random.default_rng(7)
    weights = conv_weights(quaternion=True) | {"s": rng.uniform(0.5, 2, 8), "t": rng.standard_normal(8)}
    model = float_model(NORMALIZED, weights)
    staged = by_name(quantized(model, pixels((8, 4, 8, 8)), BUILTIN.changed(batch_norm="stage")))
    assert "--batch-norm fold" in staged["conv_1"]["portable_because"]
    for placed in ("auto", "fold"):
        folded = by_name(quantized(model, pixels((8, 4, 8, 8)), BUILTIN.changed(batch_norm=placed)))
        assert folded["conv_1"]["rounding"] == "half_even"


def test_portable_is_the_default_and_says_nothing_of_it() -> None:
    model = float_model(REAL, conv_weights(quaternion=False))
    integers = quantized(model, pixels((8, 4, 8, 8)), load_recipe("default"))
    assert not any({"rounding", "portable_because"} & layer.keys() for layer in integers.graph.layers)
    assert not any(a.name == "rounding" for node in integers.model.graph.node for a in node.attribute)
    with pytest.raises(InvalidInputError, match=r"tflite_kernels='xnnpack'; expected one of \['portable', 'builtin'\]"):
        BUILTIN.changed(tflite_kernels="xnnpack")
    with pytest.raises(InvalidInputError, match=r"conv_kernels='qlinear' is for onnxruntime .* leave one of the two"):
        BUILTIN.changed(conv_kernels="qlinear")


def test_a_network_of_which_no_layer_can_is_refused_with_the_reasons() -> None:
    features = float_model(FEATURES, {"w": np.random.default_rng(0).standard_normal((4, 16))})
    with pytest.raises(UnsupportedModelError, match=re.escape("(linear_0: it takes uint8 and gives int16)")):
        quantized(features, pixels((8, 16)), BUILTIN)


def test_weights_on_a_grid_stay_there_and_the_outputs_scale_gives_way() -> None:
    weights = conv_weights(quaternion=False)
    step = 2.0**-5 * 1.1
    grids = {name: np.clip(np.rint(weights[name] / step), -8, 7) * step for name in ("w", "w1")}
    model, x = float_model(REAL, weights | grids), pixels((8, 4, 8, 8))
    integers, portable = (quantized(model, x, recipe) for recipe in (BUILTIN, load_recipe("default")))
    first, second = (by_name(integers)[name] for name in ("conv_0", "conv_2"))
    for layer in (first, second):
        assert layer["rounding"] == "half_even"
        assert layer["exact_grid"]
        assert layer["weight_error"] == 0
    for name in ("c", "e"):
        moved = integers.graph.types[name].scale / portable.graph.types[name].scale
        assert 1 <= moved < 1.15


@pytest.mark.needs("ai_edge_litert")
@pytest.mark.litert
def test_a_bundle_says_which_layers_are_built_in_and_every_format_agrees(tmp_path: Path) -> None:
    onnx.save(float_model(REAL, conv_weights(quaternion=False)), tmp_path / "float.onnx")
    bundles = {
        kernels: qdeploy.export_model(
            tmp_path / "float.onnx",
            tmp_path / kernels,
            tflite_kernels=kernels,
            formats=("onnx", "tflite"),
            calibration={"x": pixels((16, 4, 8, 8))},
        )
        for kernels in ("portable", "builtin")
    }
    built_in = bundles["builtin"]
    assert built_in.manifest.recipe["tflite_kernels"] == "builtin"
    # All of it is computed by integers in model.onnx.
    assert "integer_only" not in built_in.manifest.extra
    report = built_in.inspect()
    assert report.portable == {"conv_4": "it takes uint8 and gives int16"}
    assert "conv_4 stays portable: it takes uint8 and gives int16" in report.lines()
    assert not bundles["portable"].inspect().portable
    verified = built_in.verify(samples=4, runtimes=("litert", "onnxruntime"))
    assert verified.passed
    assert any("LiteRT's own kernels" in line for line in verified.lines())
