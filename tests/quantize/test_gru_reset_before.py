"""GRUResetBefore from float to integers: near the float model, equal bits, and a bundle of an ONNX file that verifies."""

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
from qdeploy.quantize import load_recipe, quantize
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
  states, last = qdeploy.float.GRUResetBefore <hidden_size = 16> (x, u, w, b)
  y = qdeploy.float.Linear (last, v, c)
}"""
EVERY = LAST.replace("float[batch, 4]", "float[time, batch, 4]").replace("(last, v", "(states, v")


def weights(scale: float = 1.0) -> dict[str, NDArray[np.float32]]:
    """As torch initializes, times ``scale``."""
    generator = np.random.default_rng(0)
    shapes = {"u": (3 * HIDDEN, INPUTS), "w": (3 * HIDDEN, HIDDEN), "b": (3 * HIDDEN,)}
    gated = {name: generator.uniform(-0.5, 0.5, shape) * scale for name, shape in shapes.items()}
    return gated | {"v": generator.standard_normal((CLASSES, HIDDEN)), "c": generator.standard_normal(CLASSES)}


def pixels() -> NDArray[np.float32]:
    """Samples on a grid of 256."""
    return np.random.default_rng(5).integers(0, 256, (STEPS, SAMPLES, INPUTS)).astype(np.float32) / 256


LARGEST_ERROR = {6: 0.15, 8: 0.045, 10: 0.018, 12: 0.018, 16: 0.018}
"""Root of the mean squared error over that of the logits; what is left from 10 bits on are the weights' 8.

States of 8 bits are rounded twice a step, once behind the reset gate."""


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("text", [LAST, EVERY], ids=["last", "every"])
@pytest.mark.parametrize("state_bits", [6, 8, 10, 12, 16])
def test_the_float_is_near(state_bits: int, text: str, scale: float) -> None:
    model, x = float_model(text, weights(scale)), pixels()
    integers = quantized(model, x, DEFAULT.changed(state_bits=state_bits), batch_axis=1)
    real, computed, _ = both(model, integers, x, batch_axis=1)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= LARGEST_ERROR[state_bits]
    (layer,) = [layer for layer in integers.graph.layers if layer["operator"] == "GRUResetBefore"]
    assert layer["accumulator_bits"] <= 32
    assert layer["state_bits"] == state_bits


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_bits": 2},
        {"weight_bits": 4, "recurrent_granularity": "per_channel"},
        {"multiplier_bits": 31},
        {"multiplier_bits": 1},
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


@pytest.mark.parametrize(
    "change",
    [
        {"w": 0.0},
        {"u": 0.0},
        {"u": 0.0, "w": 0.0},
        {"w": 1e-6},
        {"u": 1e-6},
        # At 6 the layer is chaotic: float32 differs from itself by as much as it holds, after a change of 1e-6.
        {"w": 3.0},
        {"u": 30.0},
        {"b": 0.0},
        {"b": 100.0},
        {"w": 1e-6, "b": 100.0},
        {"w": 0.0, "u": 0.0, "b": 0.0},
    ],
    ids=lambda change: "-".join(f"{name}{factor:g}" for name, factor in change.items()),
)
def test_weights_of_any_size(change: dict[str, float]) -> None:
    """Vanishing and huge matrices and biases neither overflow nor spoil what the others say."""
    changed = weights()
    for name, factor in change.items():
        changed[name] = changed[name] * factor
    model, x = float_model(LAST, changed), pixels()
    integers = quantized(model, x, DEFAULT, batch_axis=1)
    real, computed, _ = both(model, integers, x, batch_axis=1)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= 0.1


@pytest.mark.parametrize("weight_bits", [4, 6, 8])
def test_shifts_close_the_sums_of_weights_with_one_scale_a_gate(weight_bits: int) -> None:
    recipe = DEFAULT.changed(weight_bits=weight_bits)
    integers = quantized(float_model(LAST, weights()), pixels(), recipe, batch_axis=1)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}
    layer = integers.graph.layers[0]["name"]
    assert is_power_of_two(constants[f"{layer}.multiplier"])
    assert is_power_of_two(constants[f"{layer}.input_multiplier"]) == (weight_bits >= 6)


def test_multipliers_of_one_bit_need_related_scales() -> None:
    recipe = DEFAULT.changed(multiplier_bits=1, recurrent_granularity="per_channel")
    with pytest.raises(UnsupportedModelError, match="multipliers of 1 bit need one scale for each gate"):
        quantized(float_model(LAST, weights()), pixels(), recipe, batch_axis=1)


def test_an_initial_state_of_the_users_widens_the_range() -> None:
    text = LAST.replace("(float[time, batch, 3] x)", "(float[time, batch, 3] x, float[batch, 16] h)")
    model, x = float_model(text.replace("(x, u, w, b)", "(x, u, w, b, h)"), weights()), pixels()
    h = np.random.default_rng(2).uniform(-3, 3, (SAMPLES, HIDDEN)).astype(np.float32)
    integers = quantize(model, calibrate(model, {"x": x, "h": h}, {"x": 1, "h": 0}), DEFAULT)
    (state,) = integers.graph.states
    assert state.input == "h"
    assert state.type.scale * state.type.high == pytest.approx(np.abs(h).max(), rel=1e-3)
    feeds = {"x": np.rint(x * 256).astype(np.uint8), "h": np.rint(h / state.type.scale).astype(np.int16)}
    name = integers.outputs[0]
    found = open_engine("onnxruntime", attach_bodies(integers.model)).run(feeds)[name]
    real = open_engine("onnxruntime", model).run({"x": x, "h": h})[name]
    computed = dequantize(found, integers.graph.types[name].scale, 0)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= 0.02


@pytest.mark.parametrize("state_bits", [8, 12])
def test_an_onnx_file_becomes_a_bundle_that_verifies_and_streams(state_bits: int, tmp_path: Any) -> None:
    """The whole way, as a user goes it: the operator as Keras's exporter writes it, with the operator's defaults."""
    text = f"""
        <ir_version: 8, opset_import: ["" : 17]>
        gru (float[{STEPS}, batch, {INPUTS}] x) => (float[batch, {CLASSES}] y)
        {{
            states, last = GRU <hidden_size = {HIDDEN}> (x, w, r, b)
            axis = Constant <value_ints = [0]> ()
            state = Squeeze (last, axis)
            y = Gemm <transB = 1> (state, v, c)
        }}"""
    model, made = onnx.parser.parse_model(text), weights()
    arrays = {
        "w": made["u"][None],
        "r": made["w"][None],
        "b": np.concatenate([made["b"], 0 * made["b"]])[None],
        "v": made["v"],
        "c": made["c"],
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items())
    path = tmp_path / "gru.onnx"
    onnx.save(model, path)
    x = np.ascontiguousarray(pixels().swapaxes(0, 1))
    bundle = qdeploy.export_model(path, tmp_path / "out", calibration=x, state_bits=state_bits, time_axis=0)
    assert bundle.verify(samples=4).passed
    assert bundle.inspect().operators["GRUResetBefore"] == 1
    whole = bundle.run({"x": x.swapaxes(0, 1)})["y"]
    real = open_engine("onnxruntime", model).run({"x": x.swapaxes(0, 1)})["y"]
    assert np.sqrt(((whole - real) ** 2).mean() / (real**2).mean()) <= 0.03
    (state,) = bundle.manifest.states
    held = {state.input: np.full((2, HIDDEN), state.zero_point, state.dtype)}
    integers = np.rint(x[:2] * 256).astype(np.uint8).swapaxes(0, 1)
    for engine in ("numpy", "onnxruntime"):
        opened = open_engine(engine, onnx.load(tmp_path / "out" / "model.onnx"))
        once, carried = opened.run({"x": integers, **held}), dict(held)
        for start, stop in ((0, 1), (1, 2), (2, 11), (11, STEPS)):
            found = opened.run({"x": integers[start:stop], **carried})
            carried = {state.input: found[state.output]}
        assert all((found[name] == array).all() for name, array in once.items()), engine
