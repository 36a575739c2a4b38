"""Whole networks: the integers stay near the floats, exactly where they can."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from qdeploy.quantize import Recipe, load_recipe
from qdeploy.runtime.errors import AccumulatorOverflowError, InvalidInputError, UnsupportedModelError

from .networks import both, float_model, quantized
from .test_grid import q_k

DEFAULT = load_recipe("default")
STEPS, HIDDEN = 40, 24

MLP = """
g (float[batch, 16] x) => (float[batch, 5] y)
{
  a = qdeploy.float.Linear (x, w1, b1)
  h = Relu (a)
  y = qdeploy.float.Linear (h, w2, b2)
}"""

RNN = """
g (float[time, batch, 1] x) => (float[batch, 5] y)
{
  states, last = qdeploy.float.RNN <activation = "%s"> (x, u, w, b%s)
  y = qdeploy.float.Linear (last, v, c)
}"""


def mlp_weights(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "w1": generator.standard_normal((12, 16)) / 4,
        "b1": generator.standard_normal(12) / 4,
        "w2": generator.standard_normal((5, 12)) / 4,
        "b2": generator.standard_normal(5) / 4,
    }


def rnn_weights(*, bits: int | None, modrelu: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    """An orthogonal recurrence; with ``bits`` on the grid of q_k (a signed permutation, which stays orthogonal)."""
    generator = np.random.default_rng(seed)
    if bits is None:
        w = np.linalg.qr(generator.standard_normal((HIDDEN, HIDDEN)))[0]
    else:
        w = -np.eye(HIDDEN)[generator.permutation(HIDDEN)]
    u, v = generator.uniform(-0.5, 0.5, (HIDDEN, 1)), generator.standard_normal((5, HIDDEN))
    if bits is not None:
        u, v, w = (q_k(array.astype(np.float32), bits) for array in (u, v, w))
    weights = {"u": u, "w": w, "b": generator.uniform(0, 0.5, HIDDEN), "v": v, "c": generator.standard_normal(5)}
    if modrelu:
        weights["r"] = generator.uniform(-0.05, 0.05, HIDDEN)
    return weights


def pixels(shape: tuple[int, ...], seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32) / 256


@pytest.mark.parametrize(("bits", "worst"), [(8, 0.03), (6, 0.06), (4, 0.25)])
def test_a_multilayer_perceptron_stays_near_its_float(bits: int, worst: float) -> None:
    model, x = float_model(MLP, mlp_weights()), pixels((64, 16))
    integers = quantized(model, x, DEFAULT.changed(weight_bits=bits))
    real, found, _ = both(model, integers, x)
    assert np.abs(real - found).max() <= worst * np.abs(real).max()
    assert integers.graph.types["x"].scale == 1 / 256
    # The ReLU is the first layer's lower bound.
    assert [node.op_type for node in integers.model.graph.node if node.op_type == "Relu"] == []


@pytest.mark.parametrize("activation", ["relu", "linear", "modrelu", "tanh"])
@pytest.mark.parametrize("state_bits", [8, 12, 16])
def test_recurrences_stay_near_their_float(activation: str, state_bits: int) -> None:
    modrelu = activation == "modrelu"
    model = float_model(RNN % (activation, ", r" if modrelu else ""), rnn_weights(bits=None, modrelu=modrelu))
    x = pixels((STEPS, 16, 1))
    real, found, _ = both(
        model, quantized(model, x, DEFAULT.changed(state_bits=state_bits), batch_axis=1), x, batch_axis=1
    )
    worst = {8: 0.25, 12: 0.06, 16: 0.06}[state_bits]
    assert np.abs(real - found).max() <= worst * np.abs(real).max()


@pytest.mark.parametrize("activation", ["relu", "linear", "modrelu"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_weights_on_a_trained_grid_are_unchanged(activation: str, bits: int) -> None:
    modrelu = activation == "modrelu"
    model = float_model(RNN % (activation, ", r" if modrelu else ""), rnn_weights(bits=bits, modrelu=modrelu))
    x = pixels((STEPS, 16, 1))
    integers = quantized(model, x, DEFAULT, batch_axis=1)
    assert all(layer["exact_grid"] and layer["weight_error"] == 0 for layer in integers.graph.layers)
    real, found, _ = both(model, integers, x, batch_axis=1)
    # What is left is the rounding of 12-bit states: half a step in each of 40 steps, never amplified by a permutation.
    assert np.abs(real - found).max() <= 0.06 * np.abs(real).max()


def test_a_grid_of_its_own_needs_no_rounding_at_all() -> None:
    """With W a signed permutation, weights and biases on binary grids and enough bits, the loop is exact."""
    weights = {
        "u": np.array([[0.5], [-0.25], [0.75], [-1.0]]),
        "w": -np.eye(4)[[1, 2, 3, 0]],
        "b": np.full(4, 0.5),
        "v": np.eye(4)[:3] * 0.5 - 0.5,
        "c": np.zeros(3),
    }
    model = float_model(RNN.replace("5] y", "3] y") % ("relu", ""), weights)
    x = pixels((6, 8, 1))
    integers = quantized(model, x, DEFAULT.changed(state_bits=15, multiplier_bits=31), batch_axis=1)
    loop = next(layer for layer in integers.graph.layers if layer["operator"] == "RNN")
    assert loop["gain_error"] == 0
    assert loop["weight_error"] == 0
    real, found, _ = both(model, integers, x, batch_axis=1)
    step = integers.graph.types["y"].scale
    assert np.abs(real - found).max() <= 0.5001 * step + 1e-6


def test_power_of_two_multipliers() -> None:
    model, x = float_model(RNN % ("relu", ""), rnn_weights(bits=None)), pixels((STEPS, 16, 1))
    integers = quantized(model, x, load_recipe("fast-loop"), batch_axis=1)
    for tensor in integers.model.graph.initializer:
        if tensor.name.endswith(".multiplier"):
            values = onnx.numpy_helper.to_array(tensor)
            assert (values & (values - 1) == 0).all()
    both(model, integers, x, batch_axis=1)


def test_power_of_two_multipliers_and_a_trained_grid_exclude_each_other() -> None:
    weights = rnn_weights(bits=4)
    weights["w"] = weights["w"] * 0.9
    model, x = float_model(RNN % ("relu", ""), weights), pixels((STEPS, 4, 1))
    with pytest.raises(UnsupportedModelError, match="no power of two"):
        quantized(model, x, load_recipe("fast-loop"), batch_axis=1)


def test_a_loop_takes_31_bits_where_its_gain_error_would_matter() -> None:
    weights = rnn_weights(bits=4)
    weights["w"] = (weights["w"] * np.float32(0.9137)).astype(np.float32)
    model, x = float_model(RNN % ("relu", ""), weights), pixels((STEPS, 4, 1))
    chosen = {
        limit: next(
            layer for layer in quantized(model, x, DEFAULT.changed(max_gain_error=limit), batch_axis=1).graph.layers
        )
        for limit in (1e-9, 1.0)
    }
    assert chosen[1e-9]["multiplier_bits"] == 31
    assert chosen[1.0]["multiplier_bits"] == 15
    assert chosen[1e-9]["gain_error"] < chosen[1.0]["gain_error"]


QUATERNION = """
g (float[batch, 16] x) => (float[batch, 8] y)
{
  m = qdeploy.float.HamiltonMatrix <grouping = "%s"> (r, i, j, k)
  y = qdeploy.float.Linear (x, m, b)
}"""


def quaternion_weights(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    parts = {name: generator.standard_normal((2, 4)) for name in "rijk"}
    return parts | {"b": generator.standard_normal(8)}


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
def test_quaternion_storage_compact_and_expanded_give_the_same_bits(grouping: str) -> None:
    model, x = float_model(QUATERNION % grouping, quaternion_weights()), pixels((32, 16))
    compact, expanded = (quantized(model, x, DEFAULT, storage=storage) for storage in ("compact", "expanded"))
    real, found, integers = both(model, compact, x)
    assert np.abs(real - found).max() <= 0.03 * np.abs(real).max()
    assert (integers["y"] == both(model, expanded, x)[2]["y"]).all()
    sizes = {t.name: np.prod(t.dims) for t in compact.model.graph.initializer}
    assert sizes["m.rijk"] == 4 * 8
    assert not sizes.keys() & set("rijk")
    assert "m" not in sizes
    assert "m" in {t.name for t in expanded.model.graph.initializer}


def test_four_bit_weights_take_half_the_bytes_of_eight() -> None:
    model, x = float_model(MLP, mlp_weights()), pixels((8, 16))
    stored = {
        bits: sum(
            len(t.raw_data)
            for t in quantized(model, x, DEFAULT.changed(weight_bits=bits)).model.graph.initializer
            if t.name.startswith("w")
        )
        for bits in (2, 4, 8)
    }
    assert stored[8] == 2 * stored[4] == 4 * stored[2] == 12 * 16 + 5 * 12


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    weights = mlp_weights()
    weights["w1"][3] = 0
    weights["b1"][3] = 0.8
    model, x = float_model(MLP, weights), pixels((64, 16))
    real, found, _ = both(model, quantized(model, x, DEFAULT), x)
    assert np.abs(real - found).max() <= 0.03 * np.abs(real).max()


def test_tables_layouts_and_sums() -> None:
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
    weights = {name: array for name, array in (mlp_weights() | extra).items() if name != "w2"}
    model, x = float_model(text, weights), pixels((64, 16))
    real, found, _ = both(model, quantized(model, x, DEFAULT), x)
    assert np.abs(real - found).max() <= 0.05 * np.abs(real).max()


@pytest.mark.parametrize("operator", ["Relu", "qdeploy.float.ModRelu"])
@pytest.mark.parametrize("state_bits", [8, 12])
def test_a_rectifier_between_a_linear_recurrence_and_its_output(operator: str, state_bits: int) -> None:
    bias = ", r" if "ModRelu" in operator else ""
    text = (RNN % ("linear", "")).replace("y = qdeploy", f"rectified = {operator} (last{bias})\n  y = qdeploy")
    weights = rnn_weights(bits=None) | ({"r": np.linspace(-0.3, 0.1, HIDDEN)} if bias else {})
    model = float_model(text.replace("Linear (last", "Linear (rectified"), weights)
    x = pixels((STEPS, 16, 1))
    integers = quantized(model, x, DEFAULT.changed(state_bits=state_bits), batch_axis=1)
    real, found, _ = both(model, integers, x, batch_axis=1)
    assert np.abs(real - found).max() <= (0.25 if state_bits == 8 else 0.06) * np.abs(real).max()


def test_percentile_ranges_are_tighter() -> None:
    model, x = float_model(MLP, mlp_weights()), pixels((200, 16))
    tight = quantized(model, x, Recipe("p", "", range="percentile", percentile=99.0)).graph.types["h"]
    assert tight.scale < quantized(model, x, DEFAULT).graph.types["h"].scale


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_named(value: float) -> None:
    weights = mlp_weights()
    weights["w2"][1, 2] = value
    with pytest.raises(InvalidInputError, match=r"NaN or infinite|holds (nan|inf)"):
        quantized(float_model(MLP, weights), pixels((4, 16)), DEFAULT)


def test_an_accumulator_that_could_overflow_is_refused() -> None:
    text = "g (float[batch, 70000] x) => (float[batch, 1] y) { y = qdeploy.float.Linear (x, w) }"
    weights = {"w": np.random.default_rng(0).uniform(0.99, 1, (1, 70000))}
    for bits in (8, 2):  # an input tensor of two bits takes every byte all the same
        with pytest.raises(AccumulatorOverflowError, match="output 0 could reach"):
            quantized(float_model(text, weights), pixels((4, 70000)), DEFAULT.changed(activation_bits=bits))


def test_operators_without_an_integer_form_are_named() -> None:
    text = "g (float[batch, 16] x) => (float[batch, 16] y) { y = LpNormalization (x) }"
    with pytest.raises(
        UnsupportedModelError, match="lpnormalization_0: LpNormalization has no integer form; supported are"
    ):
        quantized(float_model(text, {}), pixels((4, 16)), DEFAULT)
