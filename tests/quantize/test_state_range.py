"""The four rules for a state's range, alone and in networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qdeploy.calibration import TensorStatistics
from qdeploy.quantize import load_recipe
from qdeploy.quantize.state_range import StateRange

from .networks import both, float_model, quantized
from .test_networks import RNN, STEPS, pixels, rnn_weights

DEFAULT = load_recipe("default")
RULES = ["minmax", "percentile", "mse", "power-of-two"]


def seen(*, outlier: float = 0.0, signed: bool = False) -> TensorStatistics:
    """States of a normal distribution with sigma 1, and perhaps one far out."""
    values = np.random.default_rng(0).standard_normal((100, 100, 10)).astype(np.float32)
    values[0, 0, 0] = outlier or values[0, 0, 0]
    found = TensorStatistics()
    found.update(values if signed else np.abs(values), 1)
    found.update_steps(values if signed else np.abs(values))
    return found


def top(rule: str, bits: int, *, outlier: float = 0.0, signed: bool = False, bound: float = math.inf) -> float:
    chosen = StateRange(
        seen(outlier=outlier, signed=signed), DEFAULT.changed(state_range=rule, state_bits=bits), signed, bound
    )
    free = chosen.free()
    return free.scale * (free.high - free.zero_point)


@pytest.mark.parametrize("signed", [False, True])
def test_free_ranges(signed: bool) -> None:
    largest = max(-seen(signed=signed).low, seen(signed=signed).high)
    assert top("minmax", 12, signed=signed) == pytest.approx(largest)
    assert top("percentile", 12, signed=signed) == pytest.approx(3.89, abs=0.1)
    # The fewer bits, the more it pays to saturate a few values.
    ranges = [top("mse", bits, signed=signed) for bits in (4, 6, 8, 12)]
    assert ranges == sorted(ranges)
    assert ranges[0] < 0.7 * largest
    # 4.4 lies nearer to 4 than to 8; the scale itself is a power of two.
    assert top("power-of-two", 12, signed=signed) == pytest.approx(4.0, rel=1e-3)


def test_one_outlier_moves_minmax_and_power_of_two_only() -> None:
    plain, wild = ({rule: top(rule, 6, outlier=out) for rule in RULES} for out in (0.0, 300.0))
    assert wild["minmax"] == 300.0
    assert wild["power-of-two"] == pytest.approx(256.0, rel=0.02)
    assert wild["percentile"] == pytest.approx(plain["percentile"], rel=0.01)
    # One value in 100 000 still weighs with the square of what it loses.
    assert wild["mse"] < 0.5 * wild["minmax"]


@pytest.mark.parametrize("rule", RULES)
def test_what_bounds_states_by_itself_bounds_their_range(rule: str) -> None:
    assert top(rule, 12, signed=True, bound=1.0) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_octaves(rule: str) -> None:
    """Scales that must be powers of two times a unit: covering for minmax, nearest for power-of-two."""
    statistics = seen()
    largest = statistics.high
    ranges = StateRange(statistics, DEFAULT.changed(state_range=rule, state_bits=8), signed=False)
    # At the first unit n = 0 covers 0.7 of the largest magnitude, which is nearer to 1.4 of it; at the second 0.75 of it,
    # and the nearest lies below: the loop saturates, as the authors' does.
    for part, nearest in ((0.7, 1), (0.75, 0)):
        unit = largest / 255 * part
        errors = {n: statistics.magnitudes.squared_error(unit * 2.0**n, 255) for n in (-3, -2, -1, 0, 1)}
        best = min(errors, key=errors.__getitem__)
        expected = {"minmax": 1, "percentile": 1, "mse": best, "power-of-two": nearest}
        assert ranges.octave(unit) == expected[rule]


def test_states_of_zeros_have_a_range_all_the_same() -> None:
    statistics = TensorStatistics()
    statistics.update(np.zeros((2, 2, 2), np.float32), 1)
    statistics.update_steps(np.zeros((2, 2, 2), np.float32))
    for rule in RULES:
        ranges = StateRange(statistics, DEFAULT.changed(state_range=rule), signed=True)
        assert ranges.free().scale > 0
        assert math.isfinite(ranges.octave(0.01))
        assert ranges.report(ranges.free())["state_saturated_share"] == 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("activation", ["relu", "modrelu", "tanh"])
@pytest.mark.parametrize("grid", [None, 6])
def test_networks_by_every_rule(rule: str, activation: str, grid: int | None) -> None:
    modrelu = activation == "modrelu"
    model = float_model(RNN % (activation, ", r" if modrelu else ""), rnn_weights(bits=grid, modrelu=modrelu))
    x = pixels((STEPS, 16, 1))
    integers = quantized(model, x, DEFAULT.changed(state_range=rule), batch_axis=1)
    real, found, _ = both(model, integers, x, batch_axis=1)
    layer = next(layer for layer in integers.graph.layers if layer["operator"] == "RNN")
    assert layer["state_range"] == rule
    assert (layer["state_percentile"] == 99.99) == (rule == "percentile")
    assert layer["state_saturated_share"] <= 0.02
    if rule == "minmax":
        assert layer["state_saturated_share"] == 0
        assert layer["state_largest_integer_means"] >= 0.9999 * layer["state_largest_float"]
    # Where the nearest power of two lies below the largest state, its saturation is what the output loses.
    worst = 0.3 if layer["state_saturated_share"] else 0.1
    assert np.abs(real - found).max() <= worst * np.abs(real).max()


def test_the_share_that_saturates_is_that_of_the_states() -> None:
    """A percentile of 90: a tenth of calibration's states lies beyond, all steps counted."""
    model = float_model(RNN % ("linear", ""), rnn_weights(bits=None))
    x = pixels((STEPS, 16, 1))
    recipe = DEFAULT.changed(state_range="percentile", percentile=90.0, state_bits=16)
    layer = quantized(model, x, recipe, batch_axis=1).graph.layers[0]
    assert layer["state_saturated_share"] == pytest.approx(0.1, abs=0.002)
    assert layer["state_largest_integer_means"] < layer["state_largest_float"]
