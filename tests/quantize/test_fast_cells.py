"""FastRNN and FastGRNN from float to integers: near the float model, proven sums, streams, and bundles that verify."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import qdeploy
from qdeploy.calibration import calibrate
from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.expose import expose
from qdeploy.quantize import IntegerModel, load_recipe, quantize
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import dequantize, is_power_of_two
from qdeploy.runtime.reference import ReferenceModel

from .networks import both, float_model, quantized

INPUTS, HIDDEN, RANK, CLASSES, STEPS, SAMPLES = 3, 16, 5, 4, 40, 24
DEFAULT = load_recipe("default")
CELLS = ["FastRNN", "FastGRNN"]
NONLINEARITIES = ["sigmoid", "tanh", "relu", "quant_sigmoid", "quant_tanh"]


def text(
    cell: str,
    *,
    activation: str = "tanh",
    gate: str = "sigmoid",
    rank: str = "full",
    h0: bool = False,
    every: bool = True,
) -> str:
    """A layer, and an output layer over every state or the last one."""
    gated = f', gate = "{gate}"' if cell == "FastGRNN" else ""
    inputs = f"x, u, w, b, m{', f' if rank == 'low' else ''}{', initial' if h0 else ''}"
    given = f", float[batch, {HIDDEN}] initial" if h0 else ""
    return f"""
g (float[time, batch, {INPUTS}] x{given}) => (float[{"time, " if every else ""}batch, {CLASSES}] y)
{{
  states, last = qdeploy.float.{cell} <activation = "{activation}", rank = "{rank}"{gated}> ({inputs})
  y = qdeploy.float.Linear ({"states" if every else "last"}, v, c)
}}"""


def weights(cell: str, *, rank: str = "full", scale: float = 1.0) -> dict[str, NDArray[np.float64]]:
    """Matrices of the size that training gives them, times ``scale``; mixes as trained ones are, beta near 1."""
    generator = np.random.default_rng(0)
    inner = RANK if rank == "low" else HIDDEN
    biases = HIDDEN * (2 if cell == "FastGRNN" else 1)
    return {
        "u": scale * generator.uniform(-1.5, 1.5, (HIDDEN, INPUTS)),
        "w": scale * generator.uniform(-0.5, 0.5, (HIDDEN, inner)),
        "b": scale * generator.uniform(-1, 1, biases),
        "m": np.array([0.73, 0.02]) if cell == "FastGRNN" else np.array([0.1, 0.9]),
        **({"f": generator.uniform(-0.6, 0.6, (RANK, HIDDEN))} if rank == "low" else {}),
        "v": generator.standard_normal((CLASSES, HIDDEN)),
        "c": generator.standard_normal(CLASSES),
    }


def network(cell: str, *, scale: float = 1.0, **chosen: Any) -> onnx.ModelProto:
    return float_model(text(cell, **chosen), weights(cell, rank=chosen.get("rank", "full"), scale=scale))


def pixels() -> NDArray[np.float32]:
    """Samples on a grid of 256."""
    return np.random.default_rng(5).integers(0, 256, (STEPS, SAMPLES, INPUTS)).astype(np.float32) / 256


def error(model: onnx.ModelProto, integers: IntegerModel, x: NDArray[np.float32]) -> float:
    """Root of the mean squared error over the deviation of the logits; the engines agree to the bit."""
    real, computed, _ = both(model, integers, x, batch_axis=1)
    return float(np.sqrt(((computed - real) ** 2).mean()) / real.std())


# What is left from 10 bits on are the weights' 8. FastRNN's state of 6 bits cannot hold the small steps that it takes.
LARGEST_ERROR = {6: 0.25, 8: 0.06, 10: 0.03, 12: 0.025, 16: 0.025}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("rank", ["full", "low"])
@pytest.mark.parametrize("state_bits", LARGEST_ERROR)
def test_the_float_is_near(cell: str, rank: str, state_bits: int) -> None:
    model, x = network(cell, rank=rank), pixels()
    integers = quantized(model, x, DEFAULT.changed(state_bits=state_bits), batch_axis=1)
    assert error(model, integers, x) <= LARGEST_ERROR[state_bits]
    (layer,) = [layer for layer in integers.graph.layers if layer["operator"] == cell]
    assert layer["accumulator_bits"] <= 32
    assert layer["state_bits"] == state_bits
    assert layer["rank"] == (RANK if rank == "low" else None)


@pytest.mark.parametrize("activation", NONLINEARITIES)
@pytest.mark.parametrize("gate", ["", *NONLINEARITIES])
def test_every_nonlinearity(gate: str, activation: str) -> None:
    """Of a gate too: tanh's is negative where it forgets with the sign turned."""
    chosen = {"activation": activation, **({"gate": gate} if gate else {})}
    model, x = network("FastGRNN" if gate else "FastRNN", scale=0.3, **chosen), pixels()
    integers = quantized(model, x, DEFAULT, batch_axis=1)
    assert error(model, integers, x) <= 0.03
    tables = {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}
    # Straight lines between a few entries, kinks among them.
    assert all(array.size <= 257 for name, array in tables.items() if name.endswith("_table"))
    if gate:
        assert (tables["fastgrnn_0.gate_table"].min() < 0) == (gate in ("tanh", "quant_tanh"))


def test_a_relu_gate_beyond_two_is_refused() -> None:
    """With W = 0 the states grow by powers of the gate, and no faster."""
    changed = weights("FastGRNN")
    for name, factor in (("w", 0.0), ("u", 0.1), ("b", 0.0)):
        changed[name] = changed[name] * factor
    for largest, refused in ((1.0, False), (2.5, True)):
        changed["b"] = np.full(2 * HIDDEN, largest - 0.5)
        model = float_model(text("FastGRNN", gate="relu", activation="quant_tanh"), changed)
        if refused:
            with pytest.raises(UnsupportedModelError, match=r"node fastgrnn_0: its ReLU gate reaches .*below 2"):
                quantized(model, pixels(), DEFAULT, batch_axis=1)
        else:
            quantized(model, pixels(), DEFAULT, batch_axis=1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("rank", ["full", "low"])
@pytest.mark.parametrize(
    "changes",
    [
        {"weight_bits": 2},
        {"weight_bits": 4, "recurrent_granularity": "per_channel"},
        {"multiplier_bits": 1, "weight_granularity": "per_tensor"},
        {"state_bits": 5},
        {"activation_bits": 4},
        {"state_range": "percentile", "percentile": 99.0},
        {"state_range": "power-of-two"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_state_of_every_engine_is_the_same(cell: str, rank: str, changes: dict[str, Any]) -> None:
    x = pixels()
    integers = quantized(network(cell, rank=rank, every=False), x, DEFAULT.changed(**changes), batch_axis=1)
    shown = expose(integers.model)
    state = integers.graph.states[0]
    given = np.random.default_rng(1).integers(0, 2 ** integers.graph.types["x"].bits, x.shape).astype(np.uint8)
    feeds = {"x": given, state.input: np.full((SAMPLES, HIDDEN), state.type.zero_point, state.type.dtype)}
    expected = ReferenceModel(shown).run(feeds).outputs
    assert len(np.unique(next(array for name, array in expected.items() if name.endswith("all_states")))) > 3
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, shown).run(feeds)
        assert all((found[name] == array).all() for name, array in expected.items()), engine


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "change",
    [
        {"w": 0.0},
        {"u": 0.0},
        {"u": 0.0, "w": 0.0},
        {"w": 1e-6},
        {"u": 1e-6},
        {"f": 1e-6},
        {"w": 3.0},
        {"u": 30.0},
        {"b": 0.0},
        {"b": 100.0},
        {"m": 0.0},
    ],
    ids=lambda change: "-".join(f"{name}{factor:g}" for name, factor in change.items()),
)
def test_weights_of_any_size(cell: str, change: dict[str, float]) -> None:
    """Vanishing and huge matrices, factors, biases and mixes neither overflow nor spoil what the others say."""
    changed = weights(cell, rank="low")
    for name, factor in change.items():
        changed[name] = changed[name] * factor
    model, x = float_model(text(cell, rank="low"), changed), pixels()
    integers = quantized(model, x, DEFAULT, batch_axis=1)
    real, computed, _ = both(model, integers, x, batch_axis=1)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= 0.1


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_trained_grid_comes_back_exactly(cell: str, bits: int) -> None:
    """And with it every zero of a sparse matrix."""
    changed = weights(cell, rank="low")
    generator = np.random.default_rng(bits)
    grids = {}
    for name, alpha in (("u", 1.3), ("w", 0.7), ("f", 0.9), ("v", 1.0)):
        grids[name] = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), changed[name].shape)
        grids[name][generator.random(grids[name].shape) < 0.5] = 0
        grids[name].flat[0] = -(2 ** (bits - 1))
        changed[name] = grids[name] * alpha / 2 ** (bits - 1)
    model, x = float_model(text(cell, rank="low"), changed), pixels()
    integers = quantized(model, x, DEFAULT.changed(weight_bits=bits), batch_axis=1)
    (layer,) = [layer for layer in integers.graph.layers if layer["operator"] == cell]
    assert layer["exact_grid"]
    weight_names = {"u": "input_weight", "w": "recurrent_weight", "f": "factor"}
    (site,) = [site for site in sites(integers.model) if site.node.op_type == cell]
    for name, parameter in weight_names.items():
        assert (site.constants[parameter] == grids[name]).all(), name
    assert error(model, integers, x) <= 0.03


@pytest.mark.parametrize("cell", CELLS)
def test_shifts_close_every_sum_of_free_weights(cell: str) -> None:
    integers = quantized(network(cell), pixels(), DEFAULT, batch_axis=1)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}
    assert is_power_of_two(constants[f"{cell.lower()}_0.input_multiplier"])
    (node,) = [node for node in integers.model.graph.node if node.op_type == cell]
    assert {a.name: a.i for a in node.attribute}["input_shift"] == 0


@pytest.mark.parametrize("cell", CELLS)
def test_an_initial_state_of_the_users_widens_the_range(cell: str) -> None:
    model, x = float_model(text(cell, h0=True), weights(cell)), pixels()
    h = np.random.default_rng(2).uniform(-3, 3, (SAMPLES, HIDDEN)).astype(np.float32)
    integers = quantize(model, calibrate(model, {"x": x, "initial": h}, {"x": 1, "initial": 0}), DEFAULT)
    (state,) = integers.graph.states
    assert state.input == "initial"
    assert state.type.scale * state.type.high == pytest.approx(np.abs(h).max(), rel=1e-3)
    feeds = {"x": np.rint(x * 256).astype(np.uint8), "initial": np.rint(h / state.type.scale).astype(np.int16)}
    name = integers.outputs[0]
    found = open_engine("onnxruntime", attach_bodies(integers.model)).run(feeds)[name]
    real = open_engine("onnxruntime", model).run({"x": x, "initial": h})[name]
    computed = dequantize(found, integers.graph.types[name].scale, 0)
    assert np.sqrt(((computed - real) ** 2).mean()) / real.std() <= 0.02


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("ranks", [(None, None), (2, 5)])
def test_a_torch_module_becomes_a_bundle_that_verifies_and_streams(cell: str, ranks: Any, tmp_path: Any) -> None:
    """The whole way, as a user goes it, with two layers; an input matrix of low rank stays two matrices."""
    torch = pytest.importorskip("torch")
    from qdeploy.models import RecurrentClassifier

    torch.manual_seed(0)
    kind = {"FastRNN": "fast-rnn", "FastGRNN": "fast-grnn"}[cell]
    module = RecurrentClassifier(
        INPUTS, HIDDEN, CLASSES, kind, layers=2, input_rank=ranks[0], recurrent_rank=ranks[1]
    ).eval()
    x = np.ascontiguousarray(pixels().swapaxes(0, 1))
    bundle = qdeploy.export_model(module, tmp_path / "out", calibration=x)
    assert bundle.verify(samples=4).passed
    operators = bundle.inspect().operators
    assert operators[cell] == 2
    assert operators["Linear"] == (3 if ranks[0] else 1)
    whole = bundle.run({"x": x})["output"]
    with torch.no_grad():
        real = module(torch.from_numpy(x)).numpy()
    assert np.sqrt(((whole - real) ** 2).mean()) / real.std() <= 0.1
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
