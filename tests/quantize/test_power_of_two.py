"""Multipliers of one bit: every multiplication of the integer graph is a shift, or the network is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.quantize import load_recipe
from qdeploy.runtime.errors import UnsupportedModelError

from .networks import both, float_model, quantized
from .test_networks import RNN, STEPS, mlp_weights, pixels, rnn_weights

FAST = load_recipe("fast-loop")


def multipliers(model: onnx.ModelProto) -> list[int]:
    """Every factor that the graph's operators multiply by."""
    found: list[int] = []
    for tensor in model.graph.initializer:
        if "multiplier" in tensor.name:
            found += onnx.numpy_helper.to_array(tensor).tolist()
    for node in model.graph.node:
        found += [a.i for a in node.attribute if a.name in ("a_multiplier", "b_multiplier")]
    return found


def all_shifts(model: onnx.ModelProto) -> bool:
    return all(factor > 0 and factor & (factor - 1) == 0 for factor in multipliers(model))


def branches() -> tuple[str, dict[str, Any]]:
    text = """
    g (float[batch, 16] x) => (float[batch, 5] y)
    {
      a = qdeploy.float.Linear (x, w1, b1)
      t = Tanh (a)
      c = qdeploy.float.Linear (x, w3, b1)
      s = Sigmoid (c)
      sum = Add (t, s)
      r = Relu (sum)
      both = Concat <axis = 1> (r, t)
      y = qdeploy.float.Linear (both, w4, b2)
    }"""
    generator = np.random.default_rng(1)
    extra = {"w3": generator.standard_normal((12, 16)) / 2, "w4": generator.standard_normal((5, 24)) / 4}
    return text, {name: array for name, array in (mlp_weights() | extra).items() if name != "w2"}


def test_tables_sums_and_concatenations_are_shifts_too() -> None:
    model, x = float_model(*branches()), pixels((64, 16))
    integers = quantized(model, x, FAST)
    assert len(multipliers(integers.model)) >= 6
    assert all_shifts(integers.model)
    real, found, _ = both(model, integers, x)
    assert np.abs(real - found).max() <= 0.1 * np.abs(real).max()


def test_fifteen_bits_of_the_same_network_are_not() -> None:
    model, x = float_model(*branches()), pixels((64, 16))
    assert not all_shifts(quantized(model, x, FAST.changed(multiplier_bits=15)).model)


def test_a_residual_sum_of_layers_of_one_input() -> None:
    text = """
    g (float[batch, 16] x) => (float[batch, 12] y)
    {
      a = qdeploy.float.Linear (x, w1, b1)
      b = qdeploy.float.Linear (x, w3, b1)
      y = Add (a, b)
    }"""
    weights = mlp_weights()
    weights = {"w1": weights["w1"], "b1": weights["b1"], "w3": weights["w1"][::-1] * 5}
    model, x = float_model(text, weights), pixels((64, 16))
    integers = quantized(model, x, FAST)
    assert all_shifts(integers.model)
    real, found, _ = both(model, integers, x)
    assert np.abs(real - found).max() <= 0.03 * np.abs(real).max()


def test_a_sum_of_scales_that_no_shift_relates_is_refused_by_name() -> None:
    """The table's result is a power of two, the input is not."""
    text = """
    g (float[batch, 12] x) => (float[batch, 12] y)
    {
      t = Tanh (x)
      y = Add (x, t)
    }"""
    x = np.random.default_rng(0).standard_normal((64, 12)).astype(np.float32)
    with pytest.raises(UnsupportedModelError, match=r"node add_1: the ratio .* is no power of two.*15 or 31 bits"):
        quantized(float_model(text, {}), x, FAST)
    assert quantized(float_model(text, {}), x, FAST.changed(multiplier_bits=15)).outputs == ("y",)


@pytest.mark.parametrize("activation", ["relu", "modrelu", "tanh", "linear"])
@pytest.mark.parametrize("state_bits", [6, 8, 12, 16])
@pytest.mark.parametrize("grid", [False, True])
def test_loops(activation: str, state_bits: int, grid: bool) -> None:
    """With a trained grid too, where its step is a power of two times the input's."""
    modrelu = activation == "modrelu"
    weights = rnn_weights(bits=4 if grid else None, modrelu=modrelu)
    model, x = float_model(RNN % (activation, ", r" if modrelu else ""), weights), pixels((STEPS, 16, 1))
    recipe = FAST.changed(state_bits=state_bits, state_range="mse")
    integers = quantized(model, x, recipe, batch_axis=1)
    assert all_shifts(integers.model)
    real, found, _ = both(model, integers, x, batch_axis=1)
    # Scales rounded up to powers of two cost up to a bit of every weight and, beside a trained grid, of the state.
    worst = {6: 0.5, 8: 0.25, 12: 0.15, 16: 0.15}[state_bits]
    assert np.abs(real - found).max() <= worst * np.abs(real).max()


@pytest.mark.parametrize("state_bits", [6, 8, 10])
def test_an_input_weight_keeps_its_bits_where_the_state_has_few(state_bits: int) -> None:
    """Pixels are finer than states of few bits: U x is shifted right before the loop instead of coarsening U."""
    model, x = float_model(RNN % ("relu", ""), rnn_weights(bits=None)), pixels((STEPS, 16, 1))
    for recipe in (FAST, load_recipe("default")):
        integers = quantized(model, x, recipe.changed(state_bits=state_bits), batch_axis=1)
        node = next(node for node in integers.model.graph.node if node.op_type == "RNN")
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}
        assert np.abs(stored[node.input[2]]).max() >= 64
        both(model, integers, x, batch_axis=1)
