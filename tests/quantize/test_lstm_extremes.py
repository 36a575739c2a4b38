"""Weights that no training gives still become integers that every engine computes alike, or are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import load_recipe
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.runtime.reference import ReferenceModel

from .networks import float_model, quantized

INPUTS, HIDDEN, STEPS, SAMPLES = 3, 6, 12, 8
TEXT = """
g (float[time, batch, 3] x) => (float[time, batch, 6] y)
{
  y, last, cell = qdeploy.float.LSTM (x, u, w, b)
}"""


def weights(**factors: float) -> dict[str, Any]:
    """Of one layer; each matrix times its factor."""
    generator = np.random.default_rng(0)
    shapes = {"u": (4 * HIDDEN, INPUTS), "w": (4 * HIDDEN, HIDDEN), "b": (4 * HIDDEN,)}
    return {name: generator.normal(size=shape) * factors.get(name, 1.0) for name, shape in shapes.items()}


CASES: dict[str, dict[str, float]] = {
    "ordinary": {},
    "no recurrence": {"w": 0.0},
    "no input": {"u": 0.0},
    "nothing": {"u": 0.0, "w": 0.0, "b": 0.0},
    "a tiny recurrence": {"w": 1e-9},
    "a tiny input": {"u": 1e-9},
    "large weights": {"u": 100.0, "w": 100.0},
    "a large bias": {"b": 1e4},
    "a huge input beside a tiny recurrence": {"u": 1e4, "w": 1e-6},
}


@pytest.mark.parametrize("multiplier_bits", [1, 15])
@pytest.mark.parametrize("state_bits", [8, 12, 16])
@pytest.mark.parametrize("case", CASES)
def test_every_engine_gives_the_same_bits(case: str, state_bits: int, multiplier_bits: int) -> None:
    model = float_model(TEXT, weights(**CASES[case]))
    x = np.random.default_rng(1).normal(size=(STEPS, SAMPLES, INPUTS)).astype(np.float32)
    recipe = load_recipe("default").changed(state_bits=state_bits, multiplier_bits=multiplier_bits)
    integers = quantized(model, x, recipe, batch_axis=1)
    complete = attach_bodies(integers.model)
    kind = integers.graph.types["x"]
    feeds = {"x": quantize_input(x, kind.scale, kind.zero_point, np.dtype(kind.dtype))}
    for state in integers.graph.states:
        feeds[state.input] = np.full((SAMPLES, state.size), state.type.zero_point, state.type.dtype)
    expected = ReferenceModel(complete).run(feeds).outputs
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, complete).run(feeds)
        assert all((found[name] == array).all() for name, array in expected.items()), engine
    real = open_engine("onnxruntime", model).run({"x": x})["y"]
    kind = integers.graph.types["y"]
    computed = dequantize(expected["y"], kind.scale, kind.zero_point)
    # Weights a hundred times as large make a step of every gate: what lies near the step may fall on its other side.
    error = np.sqrt(((computed - real) ** 2).mean())
    assert error <= {8: 0.03, 12: 0.02, 16: 0.02}[state_bits] * (10 if "large weights" in case or "huge" in case else 1)
