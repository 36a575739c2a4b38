"""Calibration: what is recorded of every tensor and of every step."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.calibration import TensorStatistics, calibrate
from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import load_recipe, quantize
from qdeploy.quantize.tensor_type import activation_type, grid_type, logits_type, state_type
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import InvalidInputError, UnsupportedModelError
from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.runtime.reference import ReferenceModel

from .quantize.networks import float_model
from .quantize.test_networks import MLP, RNN, mlp_weights, pixels, rnn_weights


def test_every_tensor_between_layers_is_seen() -> None:
    x = pixels((70, 16))
    found = calibrate(float_model(MLP, mlp_weights()), {"x": x}, {"x": 0})
    assert set(found.tensors) == {"x", "a", "h", "y"}
    assert found.samples == 70
    assert (found["x"].low, found["x"].high) == (x.min(), x.max())
    assert found["h"].low == 0
    assert found["a"].low < 0


def test_states_are_seen_at_every_step_and_before_tanh() -> None:
    model = float_model(RNN % ("tanh", ""), rnn_weights(bits=None))
    x = pixels((40, 50, 1))
    found = calibrate(model, {"x": x}, {"x": 1})
    steps = found["states"].step_largest
    assert found.steps == 40
    assert steps is not None
    assert steps.shape == (40,)
    assert steps.max() == pytest.approx(max(-found["states"].low, found["states"].high))
    before = found["states/pre_activation"]
    assert np.tanh(before.high) == pytest.approx(found["states"].high, rel=1e-5)
    assert np.tanh(before.low) == pytest.approx(found["states"].low, rel=1e-5)


WITH_INITIAL_STATE = """
g (float[time, batch, 1] x, float[batch, 24] h0) => (float[batch, 5] y)
{
  states, last = qdeploy.float.RNN <activation = "%s"> (x, u, w, b%s, h0)
  y = qdeploy.float.Linear (last, v, c)
}"""


@pytest.mark.parametrize("activation", ["relu", "modrelu", "tanh", "linear"])
def test_an_initial_state_of_the_users_belongs_to_the_states(activation: str) -> None:
    modrelu = activation == "modrelu"
    model = float_model(
        WITH_INITIAL_STATE % (activation, ", r" if modrelu else ""), rnn_weights(bits=None, modrelu=modrelu)
    )
    x, h0 = pixels((3, 50, 1)), np.zeros((50, 24), np.float32)
    h0[7, 3], h0[9, 4] = 20.0, 0.5
    feeds, axes = {"x": x, "h0": h0}, {"x": 1, "h0": 0}
    found = calibrate(model, feeds, axes)
    assert found["states"].high == found["states"].magnitudes.largest == 20
    assert found["states"].magnitudes.count == (3 + 1) * 50 * 24
    if activation == "tanh":
        weights = rnn_weights(bits=None)
        first = h0 @ weights["w"].T + x[0] @ weights["u"].T + weights["b"]
        assert found["states/pre_activation"].high >= first.max() * 0.9999
        assert found["states/pre_activation"].low <= first.min() * 0.9999
    for rule in ("minmax", "percentile", "mse", "power-of-two"):
        integers = quantize(model, found, load_recipe("default").changed(state_range=rule))
        (state,) = integers.graph.states
        assert (state.input, integers.inputs) == ("h0", ("x",))
        reach = state.type.scale * (state.type.high - state.type.zero_point)
        assert reach >= {"minmax": 19.99, "power-of-two": 15.9}.get(rule, 0.1)
        given = {
            "x": quantize_input(x, integers.graph.types["x"].scale, 0, np.uint8),
            "h0": quantize_input(np.clip(h0, 0, reach), state.type.scale, state.type.zero_point, np.int16),
        }
        complete = attach_bodies(integers.model)
        expected = ReferenceModel(complete).run(given).outputs
        for engine in ("bodies", "onnxruntime"):
            computed = open_engine(engine, complete).run(given)
            assert all((computed[name] == array).all() for name, array in expected.items())
        if rule == "minmax":
            real = open_engine("onnxruntime", model).run(feeds)["y"]
            output = integers.graph.types["y"]
            assert np.abs(dequantize(expected["y"], output.scale, 0) - real).max() <= 0.06 * np.abs(real).max()


def test_an_initial_state_below_zero_is_refused_where_states_have_no_sign() -> None:
    model = float_model(WITH_INITIAL_STATE % ("relu", ""), rnn_weights(bits=None))
    feeds = {"x": pixels((3, 2, 1)), "h0": np.full((2, 24), -0.5, np.float32)}
    with pytest.raises(UnsupportedModelError, match=r"rnn_0: its initial state \(h0\) reaches -0.5"):
        quantize(model, calibrate(model, feeds, {"x": 1, "h0": 0}), load_recipe("default"))


@pytest.mark.parametrize(("divisor", "bits"), [(1, 0), (2, 1), (16, 4), (256, 8)])
def test_inputs_on_a_power_of_two_grid_are_recognised(divisor: int, bits: int) -> None:
    found = TensorStatistics()
    found.update_grid((np.arange(divisor + 1) / divisor).astype(np.float32))
    assert found.grid_bits == bits


def test_other_inputs_are_not() -> None:
    found = TensorStatistics()
    found.update_grid(np.array([0.1, 0.25], np.float32))
    assert found.grid_bits is None


def test_percentiles_cut_both_tails_of_signed_tensors() -> None:
    found = TensorStatistics()
    values = np.concatenate([np.linspace(-1, 1, 10_001), [-50, 50]]).astype(np.float32)
    found.update(values, 1)
    assert found.bounds("minmax", 99.0) == (-50, 50)
    low, high = found.bounds("percentile", 99.0)
    assert (low, high) == (pytest.approx(-0.99, abs=0.01), pytest.approx(0.99, abs=0.01))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": np.zeros((0, 16), np.float32)}, "no samples"),
        ({"x": np.full((2, 16), 3e38, np.float32)}, "became NaN or infinite"),
    ],
)
def test_samples_that_cannot_be(feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        calibrate(float_model(MLP, mlp_weights()), feeds, {"x": 0})


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 3.0), (-2.0, -1.0), (0.5, 0.75), (0.0, 0.0)])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_activation_types_cover_their_range_and_hold_zero(low: float, high: float, bits: int) -> None:
    found = activation_type(low, high, bits)
    assert 0 <= found.zero_point <= found.high == 2**bits - 1
    reach = [found.scale * (n - found.zero_point) for n in (found.low, found.high)]
    assert reach[0] <= min(low, 0) + found.scale / 2 + 1e-12
    assert reach[1] >= max(high, 0) - found.scale / 2 - 1e-12


def test_grid_logits_and_state_types() -> None:
    assert grid_type(0, 255 / 256, 8, 8).scale == 1 / 256
    assert grid_type(0, 1.0, 8, 8).scale == 1 / 255
    assert logits_type(-3.0, 2.0).scale * (2**15 - 1) == pytest.approx(6.0)
    assert (state_type(1, 8, signed=False).high, state_type(1, 8, signed=True).zero_point) == (255, 128)
    wide = state_type(1, 12, signed=False)
    assert (wide.dtype, wide.low, wide.high) == ("int16", 0, 4095)
    assert (state_type(1, 12, signed=True).low, state_type(1, 16, signed=False).high) == (-2048, 2**15 - 1)
