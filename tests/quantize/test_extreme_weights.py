"""Dead units, vanishing recurrences, saturated tables: what the float network computes, the integers compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeploy.quantize import load_recipe

from .networks import both, float_model, quantized

DEFAULT = load_recipe("default")

LINEAR = """
g (float[batch, 13] x) => (float[batch, 6] y)
{
  y = qdeploy.float.Linear (x, w, b)
}"""

QUATERNION = """
g (float[batch, 16] x) => (float[batch, 8] y)
{
  m = qdeploy.float.HamiltonMatrix <grouping = "blocked"> (wr, wi, wj, wk)
  y = qdeploy.float.Linear (x, m, b)
}"""

TABLE = """
g (float[batch, 13] x) => (float[batch, 6] y)
{
  a = qdeploy.float.Linear (x, w, b)
  y = %s (a)
}"""

LOOP = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last = qdeploy.float.RNN <activation = "%s"> (x, u, w, b)
  y = qdeploy.float.Linear (last, v, c)
}"""

MULTIPLIERS: tuple[dict[str, Any], ...] = ({}, {"multiplier_bits": 31}, {"multiplier_bits": 1})


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def relative_error(text: str, weights: dict[str, np.ndarray], x: np.ndarray, axis: int = 0, **changed: Any) -> float:
    model = float_model(text, weights)
    integers = quantized(model, x, DEFAULT.changed(**changed), batch_axis=axis)
    real, found, _ = both(model, integers, x, batch_axis=axis)
    return float(np.abs(real - found).max() / np.abs(real).max())


@pytest.mark.parametrize("multiplier", MULTIPLIERS, ids=str)
@pytest.mark.parametrize("size", [1e-4, 1e-9, 1e-42, 0.0])
def test_a_dead_unit_keeps_its_bias(size: float, multiplier: dict[str, Any]) -> None:
    w, b = normal(6, 13), normal(6, seed=1)
    w[3] *= np.float32(size)
    b[3] = 1.5
    assert relative_error(LINEAR, {"w": w, "b": b}, normal(64, 13, seed=2), **multiplier) <= 0.02


@pytest.mark.parametrize("multiplier", MULTIPLIERS, ids=str)
def test_a_row_of_zeros_with_a_tiny_bias_stays_tiny(multiplier: dict[str, Any]) -> None:
    w, b = np.sign(normal(6, 13)), np.array([0, 0, 1e-6, 0, 0, 0], np.float32)
    w[2] = 0
    model, x = float_model(LINEAR, {"w": w, "b": b}), np.abs(normal(64, 13))
    integers = quantized(
        model, x, DEFAULT.changed(weight_bits=2, activation_bits=2, recognise_grid=False, **multiplier)
    )
    real, found, _ = both(model, integers, x)
    assert np.abs(found[:, 2]).max() <= 0.01 * np.abs(real).max()


@pytest.mark.parametrize("multiplier", MULTIPLIERS, ids=str)
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e6])
def test_without_weights_the_bias_remains(size: float, multiplier: dict[str, Any]) -> None:
    weights = {"w": np.zeros((6, 13), np.float32), "b": normal(6) * np.float32(size)}
    assert relative_error(LINEAR, weights, normal(64, 13), **multiplier) <= 1e-3


@pytest.mark.parametrize("size", [1e-30, 1e-44])
def test_inputs_that_vanish_beside_the_bias(size: float) -> None:
    x = normal(64, 13) * np.float32(size)
    assert relative_error(LINEAR, {"w": normal(6, 13), "b": normal(6)}, x) <= 1e-3


@pytest.mark.parametrize("storage", ["compact", "expanded"])
@pytest.mark.parametrize("multiplier", MULTIPLIERS, ids=str)
@pytest.mark.parametrize("size", [1e-12, 0.0])
def test_a_dead_quaternion_keeps_its_bias(size: float, multiplier: dict[str, Any], storage: str) -> None:
    components = {f"w{part}": normal(2, 4, seed=seed) for seed, part in enumerate("rijk")}
    for component in components.values():
        component[1] *= np.float32(size)
    model, x = float_model(QUATERNION, {**components, "b": normal(8, seed=9)}), normal(64, 16, seed=2)
    integers = quantized(model, x, DEFAULT.changed(**multiplier), storage=storage)
    real, found, _ = both(model, integers, x)
    assert np.abs(real - found).max() <= 0.02 * np.abs(real).max()


@pytest.mark.parametrize("operator", ["Tanh", "Sigmoid"])
def test_a_table_gets_its_operand_where_it_bends(operator: str) -> None:
    w = np.random.default_rng(0).choice([-8, 0, 8], (6, 13)).astype(np.float32)
    x = np.random.default_rng(1).integers(0, 256, (64, 13)).astype(np.float32) / 256
    assert relative_error(TABLE % operator, {"w": w, "b": np.zeros(6, np.float32)}, x) <= 0.02


@pytest.mark.parametrize("activation", ["relu", "linear", "tanh"])
@pytest.mark.parametrize("changed", [*MULTIPLIERS, {"state_bits": 8}], ids=str)
@pytest.mark.parametrize("size", [1.0, 1e-5, 1e-42])
def test_a_recurrence_that_vanishes(activation: str, changed: dict[str, Any], size: float) -> None:
    w = np.linalg.qr(normal(8, 8))[0].astype(np.float32) * np.float32(0.9 * size)
    weights = {"u": normal(8, 3), "w": w, "b": normal(8, seed=3), "v": normal(4, 8), "c": normal(4)}
    assert relative_error(LOOP % activation, weights, normal(20, 32, 3), 1, **changed) <= 0.05
