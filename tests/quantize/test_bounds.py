"""ReLU, ReLU6 and Hardtanh behind a layer are its bounds; alone they are an operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeploy.quantize import Recipe

from .networks import both, float_model, quantized

NETWORK = """
g (float[batch, 8] x) => (float[batch, 6] y)
{
  low = Constant <value = float {%s}> ()
  high = Constant <value = float {%s}> ()
  a = qdeploy.float.Linear (x, w, b)
  %s
}"""


def network(low: float, high: float, nodes: str) -> Any:
    """A Linear, and ``nodes`` that make y of a and the bounds, which are initializers as capture leaves them."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(6, 8)), "b": rng.normal(size=6), "low": np.array(low), "high": np.array(high)}
    text = "\n".join(line for line in (NETWORK % (low, high, nodes)).splitlines() if "Constant" not in line)
    return float_model(text, weights)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32)


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 1.0), (-0.5, 0.25), (0.25, 0.5)])
@pytest.mark.parametrize("multiplier_bits", [1, 15, 31])
def test_bounds_cost_no_operator(low: float, high: float, multiplier_bits: int, x: np.ndarray) -> None:
    model = network(low, high, "y = Clip (a, low, high)")
    integers = quantized(model, x, Recipe("t", "", multiplier_bits=multiplier_bits))
    assert [node.op_type for node in integers.model.graph.node] == ["Linear"]
    expected, found, _ = both(model, integers, x)
    step = integers.graph.types["y"].scale
    assert found.min() >= low - step
    assert found.max() <= high + step
    # Steps of weights: 1 % of the range, and up to twice that where they are powers of two.
    assert np.abs(found - expected).max() < (0.2 if multiplier_bits == 1 else 0.1)


def test_a_relu_and_a_clip_behind_each_other_are_one_pair_of_bounds(x: np.ndarray) -> None:
    model = network(-3.0, 0.5, "c = Clip (a, low, high)\n  y = Relu (c)")
    integers = quantized(model, x, Recipe("t", ""))
    (node,) = integers.model.graph.node
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    # The output has 16 bits and room: both bounds lie inside of them.
    assert attributes["low"] == 0
    assert attributes["high"] == round(0.5 / integers.graph.types["y"].scale) < 2**15 - 1


def test_without_an_upper_bound_only_the_lower_one_is_set(x: np.ndarray) -> None:
    model = network(0.5, 0.0, "y = Clip (a, low)")
    integers = quantized(model, x, Recipe("t", ""))
    _, found, _ = both(model, integers, x)
    assert abs(found.min() - 0.5) < 1e-3
    assert found.max() > 2


def test_bounds_of_a_tensor_with_other_readers_are_an_operator(x: np.ndarray) -> None:
    model = network(-0.5, 0.5, "c = Clip (a, low, high)\n  y = Add (a, c)")
    integers = quantized(model, x, Recipe("t", ""))
    assert [node.op_type for node in integers.model.graph.node] == ["Linear", "Clip", "Add"]
    expected, found, _ = both(model, integers, x)
    # The operands of the sum have a step each, and it one of its own.
    assert np.abs(found - expected).max() < 2 * integers.graph.types["a"].scale
