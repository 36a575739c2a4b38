"""GRU from float to integers: near the float model, proven accumulators, streams, and a bundle that verifies."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import qdeploy
from qdeploy.calibration import calibrate
from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.expose import expose
from qdeploy.quantize import load_recipe
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import dequantize, is_power_of_two
from qdeploy.runtime.reference import ReferenceModel

from .networks import both, float_model, quantized

INPUTS, HIDDEN, CLASSES, STEPS, SAMPLES = 3, 16, 4, 40, 24
DEFAULT = load_recipe("default")
LAST = """
g (float[time, batch, 3] x) => (float[batch, 4] y)
{
  states, last = qdeploy.float.GRU <hidden_size = 16> (x, u, w, b, r)
  y = qdeploy.float.Linear (last, v, c)
}"""
EVERY = LAST.replace("float[batch, 4]", "float[time, batch, 4]").replace("(last, v", "(states, v")


def weights(scale: float = 1.0) -> dict[str, NDArray[np.float32]]:
    """As torch initializes, times ``scale``."""
    generator = np.random.default_rng(0)
    shapes = {"u": (3 * HIDDEN, INPUTS), "w": (3 * HIDDEN, HIDDEN), "b": (3 * HIDDEN,), "r": (HIDDEN,)}
    gated = {name: generator.uniform(-0.5, 0.5, shape) * scale for name, shape in shapes.items()}
    return gated | {"v": generator.standard_normal((CLASSES, HIDDEN)), "c": generator.standard_normal(CLASSES)}


def pixels() -> NDArray[np.float32]:
    """Samples on a grid of 256."""
    return np.random.default_rng(5).integers(0, 256, (STEPS, SAMPLES, INPUTS)).astype(np.float32) / 256


LARGEST_ERROR = {6: 0.1, 8: 0.02, 10: 0.018, 12: 0.018, 16: 0.018}
"""Root of the mean squared error over that of the logits; what is left from 10 bits on are the weights' 8."""


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("text", [LAST, EVERY], ids=["last", "every"])
@pytest.mark.parametrize("state_bits", [6, 8, 10, 12, 16])
def test_the_float_is_near(state_bits: int, text: str, scale: float) -> None:
    model, x = float_model(text, weights(scale)), pixels()
    integers = quantized(model, x, DEFAULT.changed(state_bits=state_bits), batch_axis=1)
    real, computed, _ = both(model, integers, x, batch_axis=1)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= LARGEST_ERROR[state_bits]
    (layer,) = [layer for layer in integers.graph.layers if layer["operator"] == "GRU"]
    assert layer["accumulator_bits"] <= 32
    assert layer["state_bits"] == state_bits


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_bits": 2},
        {"weight_bits": 4, "recurrent_granularity": "per_channel"},
        {"multiplier_bits": 31},
        {"state_bits": 5},
        {"state_range": "mse"},
        {"state_range": "percentile", "percentile": 99.0},
        {"state_range": "power-of-two"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_state_of_every_engine_is_the_same(changes: dict[str, Any]) -> None:
    x = pixels()
    integers = quantized(float_model(LAST, weights()), x, DEFAULT.changed(**changes), batch_axis=1)
    shown = expose(integers.model)
    given = np.random.default_rng(1).integers(0, 256, x.shape).astype(np.uint8)
    state = integers.graph.states[0]
    feeds = {"x": given, state.input: np.full((SAMPLES, HIDDEN), state.type.zero_point, state.type.dtype)}
    expected = ReferenceModel(shown).run(feeds).outputs
    assert len(np.unique(next(array for name, array in expected.items() if name.endswith("all_states")))) > 3
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, shown).run(feeds)
        assert all((found[name] == array).all() for name, array in expected.items()), engine


def test_per_channel_scales_are_nearer_than_those_of_a_gate() -> None:
    """Rows of very different size: one scale a gate leaves the small ones few levels."""
    uneven = weights()
    rows = np.tile(np.geomspace(0.02, 2.0, HIDDEN), 3)[:, None]
    uneven["w"] = uneven["w"] * rows
    model, x, errors = float_model(LAST, uneven), pixels(), {}
    for granularity in ("per_tensor", "per_channel"):
        recipe = DEFAULT.changed(weight_bits=4, recurrent_granularity=granularity)
        real, computed, _ = both(model, quantized(model, x, recipe, batch_axis=1), x, batch_axis=1)
        errors[granularity] = float(np.sqrt(((computed - real) ** 2).mean()))
    assert errors["per_channel"] < errors["per_tensor"]


@pytest.mark.parametrize(
    "change",
    [
        {"w": 0.0},
        {"u": 0.0},
        {"u": 0.0, "w": 0.0},
        {"w": 1e-6},
        {"u": 1e-6},
        {"w": 6.0},
        {"u": 30.0},
        {"b": 0.0, "r": 0.0},
        {"b": 100.0},
        {"r": 100.0},
        {"w": 1e-6, "r": 100.0},
        {"w": 0.0, "u": 0.0, "b": 0.0, "r": 0.0},
    ],
    ids=lambda change: "-".join(f"{name}{factor:g}" for name, factor in change.items()),
)
def test_weights_of_any_size(change: dict[str, float]) -> None:
    """Vanishing and huge matrices and biases neither overflow nor spoil what the others say."""
    changed = weights()
    for name, factor in change.items():
        changed[name] = changed[name] * factor
    model, x = float_model(LAST, changed), pixels()
    integers = quantized(model, x, DEFAULT.changed(state_bits=12), batch_axis=1)
    real, computed, _ = both(model, integers, x, batch_axis=1)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= 0.1


def test_an_initial_state_of_the_users_widens_the_range() -> None:
    text = LAST.replace("(float[time, batch, 3] x)", "(float[time, batch, 3] x, float[batch, 16] h)")
    text = text.replace("(x, u, w, b, r)", "(x, u, w, b, r, h)")
    model, x = float_model(text, weights()), pixels()
    h = np.random.default_rng(2).uniform(-3, 3, (SAMPLES, HIDDEN)).astype(np.float32)
    from qdeploy.quantize import quantize

    statistics = calibrate(model, {"x": x, "h": h}, {"x": 1, "h": 0})
    integers = quantize(model, statistics, DEFAULT)
    (state,) = integers.graph.states
    assert state.input == "h"
    assert state.type.scale * state.type.high == pytest.approx(np.abs(h).max(), rel=1e-3)
    feeds = {"x": np.rint(x * 256).astype(np.uint8), "h": np.rint(h / state.type.scale).astype(np.int16)}
    name = integers.outputs[0]
    found = open_engine("onnxruntime", attach_bodies(integers.model)).run(feeds)[name]
    real = open_engine("onnxruntime", model).run({"x": x, "h": h})[name]
    computed = dequantize(found, integers.graph.types[name].scale, 0)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= 0.02


def test_multipliers_of_one_bit_need_related_scales() -> None:
    integers = quantized(float_model(LAST, weights()), pixels(), DEFAULT.changed(multiplier_bits=1), batch_axis=1)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}
    for name, values in constants.items():
        if name.endswith("multiplier"):
            assert is_power_of_two(values), name
    with pytest.raises(UnsupportedModelError, match="multipliers of 1 bit need one scale for each gate"):
        quantized(
            float_model(LAST, weights()),
            pixels(),
            DEFAULT.changed(multiplier_bits=1, recurrent_granularity="per_channel"),
            batch_axis=1,
        )


@pytest.mark.parametrize("weight_bits", [4, 6, 8])
def test_shifts_close_the_sums_of_weights_with_one_scale_a_gate(weight_bits: int) -> None:
    recipe = DEFAULT.changed(weight_bits=weight_bits)
    integers = quantized(float_model(LAST, weights()), pixels(), recipe, batch_axis=1)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}
    assert is_power_of_two(constants["gru_0.multiplier"])
    assert is_power_of_two(constants["gru_0.input_multiplier"]) == (weight_bits >= 6)


@pytest.mark.parametrize("state_bits", [8, 12])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_torch_module_becomes_a_bundle_that_verifies_and_streams(layers: int, state_bits: int, tmp_path: Any) -> None:
    """The whole way, as a user goes it."""
    torch = pytest.importorskip("torch")

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(INPUTS, HIDDEN, layers, batch_first=True)
            self.head = torch.nn.Linear(HIDDEN, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.head(self.gru(x)[0][:, -1])

    torch.manual_seed(0)
    module = Classifier().eval()
    x = np.ascontiguousarray(pixels().swapaxes(0, 1))
    bundle = qdeploy.export_model(module, tmp_path / "out", calibration=x, state_bits=state_bits)
    assert bundle.verify(samples=4).passed
    assert bundle.inspect().operators["GRU"] == layers
    whole = bundle.run({"x": x})["output"]
    with torch.no_grad():
        real = module(torch.from_numpy(x)).numpy()
    assert np.sqrt(((whole - real) ** 2).mean() / (real**2).mean()) <= 0.03
    for engine in ("numpy", "onnxruntime"):
        opened = open_engine(engine, onnx.load(tmp_path / "out" / "model.onnx"))
        states = {spec.input: np.full((2, HIDDEN), spec.zero_point, spec.dtype) for spec in bundle.manifest.states}
        integers = np.rint(x[:2] * 256).astype(np.uint8)
        once = opened.run({"x": integers, **states})
        held = dict(states)
        for start, stop in ((0, 1), (1, 2), (2, 11), (11, STEPS)):
            found = opened.run({"x": integers[:, start:stop], **held})
            held = {spec.input: found[spec.output] for spec in bundle.manifest.states}
        assert all((found[name] == array).all() for name, array in once.items()), engine
