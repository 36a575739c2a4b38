"""Batch normalization behind convolutions: real ones, depthwise ones, those of quaternions, with groups and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeploy.quantize import load_recipe

from .networks import float_model
from .test_batch_norm import PARTS, error_in_steps, layer

DEFAULT = load_recipe("default")
MODES = ("auto", "stage", "fold")
COMPONENTS = 'made = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (wr, wi, wj, wk)'


def model(kind: str, operator: str, group: int = 1) -> tuple[Any, dict[str, np.ndarray]]:
    """Conv of 8 channels to 16, with padding, then the normalization and a Clip."""
    generator = np.random.default_rng(2)
    weight = "w"
    steps = ""
    inputs = 8 // group
    if kind == "quaternion":
        weights = {name: generator.standard_normal((4, inputs // 4, 3, 3)) / 4 for name in PARTS}
        weight, steps = "made", COMPONENTS
        if group > 1:
            weight, steps = "rows", f"{COMPONENTS} rows = qdeploy.float.GateRows <parts = 4, order = [0, 1]> (made)"
    else:
        weights = {"w": generator.standard_normal((16, inputs, 3, 3)) / 4}
    weights |= {"s": generator.standard_normal(16), "t": generator.standard_normal(16)}
    weights |= {"low": np.array(0.0), "high": np.array(24.0)}
    if operator == "QuaternionAffine":
        weights |= {"s": generator.standard_normal((4, 4, 4)), "t": generator.standard_normal((4, 4))}
    text = f"""g (float[batch, 8, 6, 5] x) => (float[batch, 16, 6, 5] y)
{{
  {steps}
  a = Conv <pads = [1, 1, 1, 1], strides = [1, 1], dilations = [1, 1], kernel_shape = [3, 3], group = {group}> (x, {weight})
  n = qdeploy.float.{operator} <trailing = 2> (a, s, t)
  y = Clip (n, low, high)
}}"""
    return text, weights


def samples() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(12, 8, 6, 5)).astype(np.float32)


def operators(integers: Any) -> list[str]:
    weights = ("HamiltonMatrix", "GateRows", "Concat", "UnpackWeights")
    return [node.op_type for node in integers.model.graph.node if node.op_type not in weights]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["real", "quaternion"])
@pytest.mark.parametrize("operator", ["ChannelAffine", "QuaternionAffine"])
def test_behind_a_convolution(mode, kind, operator):
    text, weights = model(kind, operator)
    error, integers = error_in_steps(float_model(text, weights), DEFAULT.changed(batch_norm=mode), samples())
    stays = operator == "QuaternionAffine" and mode == "stage"
    assert operators(integers) == (["Conv", "QuaternionAffine"] if stays else ["Conv"])
    assert error < 6
    compact = any(node.op_type == "HamiltonMatrix" for node in integers.model.graph.node)
    folded = mode == "fold" or (mode == "auto" and operator == "QuaternionAffine")
    assert compact == (kind == "quaternion" and not folded)
    if compact and not stays:
        # Multipliers for 16 channels where 4 quaternions need one each: what inspect tells of a convolution, too.
        assert layer(integers)["batch_norm"] == "multiplier"
        assert layer(integers)["batch_norm_bytes"] == 4 * (16 - 4)


@pytest.mark.parametrize("mode", MODES)
def test_depthwise(mode):
    """One input channel for each output: nothing but rows matters."""
    text, weights = model("real", "ChannelAffine", group=8)
    error, integers = error_in_steps(float_model(text, weights), DEFAULT.changed(batch_norm=mode), samples())
    assert operators(integers) == ["Conv"]
    assert error < 6


@pytest.mark.parametrize("mode", MODES)
def test_a_matrix_does_not_mix_groups(mode):
    """The rows of a group see other channels than those of the next: the operator stays, whatever is asked."""
    text, weights = model("real", "QuaternionAffine", group=2)
    error, integers = error_in_steps(float_model(text, weights), DEFAULT.changed(batch_norm=mode), samples())
    assert operators(integers) == ["Conv", "QuaternionAffine"]
    assert layer(integers)["batch_norm"] == "operator"
    assert error < 6


def test_equal_factors_fold_into_the_components_of_groups():
    """Rows of grouped quaternions stand group by group, each blocked."""
    text, weights = model("quaternion", "ChannelAffine", group=2)
    once = weights["s"][:4].reshape(2, 1, 2)
    weights["s"] = np.broadcast_to(once, (2, 4, 2)).reshape(-1)
    error, integers = error_in_steps(float_model(text, weights), DEFAULT, samples())
    assert layer(integers)["batch_norm"] == "components"
    assert error < 6
    weights["s"] = np.tile(np.repeat(once.reshape(-1), 2), 2)
    error, integers = error_in_steps(float_model(text, weights), DEFAULT, samples())
    assert layer(integers)["batch_norm"] == "multiplier"
    assert error < 6


BETWEEN = """g (float[batch, 8, 6, 5] x) => (float[batch, 16, 5, 6] y)
{
  a = Conv <pads = [0, 0, 0, 0], strides = [1, 1], dilations = [1, 1], kernel_shape = [1, 1], group = 1> (x, w)
  turned = Transpose <perm = [0, 1, 3, 2]> (a)
  y = qdeploy.float.QuaternionAffine <trailing = 2> (turned, s, t)
}"""


def test_what_is_whitened_has_sixteen_bits_through_layout_operators_too():
    _, weights = model("real", "QuaternionAffine")
    weights = {"w": weights["w"][:, :, :1, :1], "s": weights["s"], "t": weights["t"]}
    error, integers = error_in_steps(float_model(BETWEEN, weights), DEFAULT, samples())
    assert integers.graph.types["a"].dtype == integers.graph.types["turned"].dtype == "int16"
    assert error < 2
