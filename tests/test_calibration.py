"""Calibration: what is recorded of every tensor and of every step."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.calibration import TensorStatistics, calibrate
from qdeploy.quantize.tensor_type import activation_type, grid_type, logits_type, state_type
from qdeploy.runtime.errors import InvalidInputError

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
