"""LiGRU from torch to integers: the engines agree to the bit, the float is near, and a bundle streams."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from qdeploy.calibration import Calibration, calibrate
from qdeploy.export.onnx import attach_bodies, check_integer_only
from qdeploy.export.onnx.expose import expose
from qdeploy.quantize import IntegerModel, load_recipe, quantize
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.numeric import dequantize, quantize_input
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.studies.subject import integer_feeds

torch = pytest.importorskip("torch")

from qdeploy.capture import capture  # noqa: E402  # torch may be missing
from qdeploy.models import LiGRU, QuaternionLiGRU  # noqa: E402

INPUTS, HIDDEN, CLASSES, STEPS, SAMPLES = 4, 20, 3, 24, 12
DEFAULT, FAST, PRECISE = (load_recipe(name) for name in ("default", "fast-loop", "precise"))


class Classifier(torch.nn.Module):
    """Two layers and a head over every state."""

    def __init__(self, activation: str, gain: float) -> None:
        super().__init__()
        self.first, self.second = (LiGRU(size, HIDDEN, activation, 0.1) for size in (INPUTS, HIDDEN))
        self.head = torch.nn.Linear(HIDDEN, CLASSES)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.input_weight.mul_(gain)
                layer.bias.uniform_(-1, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.second(self.first(x.transpose(0, 1))[0])[0]).transpose(0, 1)


@cache
def network(activation: str, gain: float = 1.0) -> tuple[Any, Calibration, dict[str, np.ndarray], np.ndarray]:
    """A captured torch module, its calibration, its feeds, and what torch itself computes."""
    torch.manual_seed(3)
    module = Classifier(activation, gain).eval()
    x = np.random.default_rng(7).integers(0, 256, (SAMPLES, STEPS, INPUTS)).astype(np.float32) / 256
    captured = capture(module, {"x": x})
    feeds = captured.arrange({"x": x})
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    with torch.no_grad():
        return captured, statistics, feeds, module(torch.from_numpy(x)).numpy()


def integers_of(integers: IntegerModel, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of every step, by the reference; the bodies and onnxruntime agree."""
    check_integer_only(integers.model)
    shown = expose(integers.model)
    expected = ReferenceModel(shown).run(given).outputs
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, shown).run(given)
        assert all((found[name] == array).all() for name, array in expected.items()), engine
    return expected


CASES: list[tuple[str, float, dict[str, Any], float]] = [
    *((activation, 1.0, {}, 0.01) for activation in ("relu", "leaky-relu", "tanh")),
    *((activation, 4.0, {}, 0.03) for activation in ("relu", "leaky-relu", "tanh")),
    *((activation, 1.0, {"state_bits": 8}, 0.03) for activation in ("relu", "leaky-relu", "tanh")),
    ("relu", 1.0, {"state_bits": 15}, 0.01),
    ("leaky-relu", 1.0, {"state_bits": 16}, 0.01),
    ("relu", 1.0, {"recurrent_granularity": "per_channel"}, 0.01),
    ("tanh", 1.0, {"weight_granularity": "per_tensor"}, 0.02),
    ("relu", 1.0, {"weight_bits": 5}, 0.15),
    ("leaky-relu", 1.0, {"multiplier_bits": 1}, 0.02),
    ("leaky-relu", 1.0, {"multiplier_bits": 1, "recurrent_granularity": "per_channel"}, 0.02),
    ("tanh", 1.0, {"multiplier_bits": 31, "recurrent_granularity": "per_channel"}, 0.01),
    ("relu", 1.0, {"state_range": "mse"}, 0.01),
    ("relu", 1.0, {"state_range": "power-of-two"}, 0.03),
]
"""Activation, gain of the input's weights, recipe, and the largest root of the mean squared error over the outputs'."""


@pytest.mark.parametrize(("activation", "gain", "changes", "largest"), CASES)
def test_every_engine_gives_the_same_bits_and_the_float_is_near(
    activation: str, gain: float, changes: dict[str, Any], largest: float
) -> None:
    captured, statistics, feeds, real = network(activation, gain)
    integers = quantize(captured.model, statistics, DEFAULT.changed(**changes))
    found = integers_of(integers, integer_feeds(captured, integers, feeds))
    name = integers.outputs[0]
    kind = integers.graph.types[name]
    computed = dequantize(found[name], kind.scale, kind.zero_point)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= largest
    names = [node.op_type for node in attach_bodies(integers.model).graph.node if node.op_type.startswith("LiGRU")]
    # Only rows with scales of their own need products of 64 bits.
    wide = changes.get("recurrent_granularity") == "per_channel" and changes.get("multiplier_bits") != 1
    assert all(("_multiply_" in one) == wide for one in names)


@pytest.mark.parametrize("recipe", [DEFAULT, FAST, PRECISE], ids=["default", "fast-loop", "precise"])
def test_recipes_and_types_of_the_state(recipe: Any) -> None:
    for activation, signed in (("relu", False), ("leaky-relu", True), ("tanh", True)):
        captured, statistics, feeds, _ = network(activation)
        integers = quantize(captured.model, statistics, recipe)
        integers_of(integers, integer_feeds(captured, integers, feeds))
        state = integers.graph.states[0].type
        assert (state.low < state.zero_point) == signed


def test_a_slow_gate_and_a_silent_candidate() -> None:
    """All gates open for the past, candidates never above zero: the layer holds what it is given."""
    torch.manual_seed(0)
    module = Classifier("relu", 1.0).eval()
    with torch.no_grad():
        module.first.bias[:HIDDEN], module.first.bias[HIDDEN:] = -50.0, 12.0
    x = np.random.default_rng(1).random((SAMPLES, STEPS, INPUTS)).astype(np.float32)
    captured = capture(module, {"x": x})
    feeds = captured.arrange({"x": x})
    integers = quantize(captured.model, calibrate(captured.model, feeds, {"x": captured.inputs[0].batch_axis}), DEFAULT)
    given = integer_feeds(captured, integers, feeds)
    state = integers.graph.states[0]
    given[state.input] = np.random.default_rng(2).integers(0, 4096, given[state.input].shape).astype(np.int16)
    found = integers_of(integers, given)
    assert np.abs(found[state.output].astype(int) - given[state.input]).max() <= 1


def test_initial_states_of_the_users_are_within_the_states() -> None:
    class Given(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = LiGRU(INPUTS, HIDDEN)

        def forward(self, x: Any, h: Any) -> Any:
            return self.rnn(x, h)[1]

    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    samples = {
        "x": generator.random((6, 9, INPUTS)).astype(np.float32),
        # Below zero, where a ReLU's own states never are.
        "h": generator.uniform(-3, 3, (6, HIDDEN)).astype(np.float32),
    }
    module = Given().eval()
    captured = capture(module, samples, time_axis=0)
    feeds = captured.arrange(samples)
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    integers = quantize(captured.model, statistics, DEFAULT)
    kind = integers.graph.states[0].type
    assert kind.low * kind.scale <= -2.9
    given = integer_feeds(captured, integers, feeds)
    given["h"] = quantize_input(samples["h"], kind.scale, kind.zero_point, np.dtype(kind.dtype))
    found = integers_of(integers, given)
    name = integers.graph.states[0].output
    real = module(torch.from_numpy(feeds["x"]), torch.from_numpy(feeds["h"])).detach().numpy()
    assert np.abs(dequantize(found[name], kind.scale, kind.zero_point) - real).max() <= 0.05


@pytest.mark.parametrize("layout", ["per-gate", "per-part"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_quaternion_layers_keep_their_components(layout: str, granularity: str) -> None:
    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = QuaternionLiGRU(8, 16, gate_layout=layout)

        def forward(self, x: Any) -> Any:
            return self.rnn(x)[0]

    module = Model().eval()
    x = np.random.default_rng(0).random((6, 20, 8)).astype(np.float32)
    captured = capture(module, {"x": x}, time_axis=0)
    feeds = captured.arrange({"x": x})
    statistics, recipe = calibrate(captured.model, feeds, {"x": 1}), DEFAULT.changed(recurrent_granularity=granularity)
    compact, expanded = (
        quantize(captured.model, statistics, recipe, storage=storage) for storage in ("compact", "expanded")
    )
    given = integer_feeds(captured, compact, feeds)
    found, full = integers_of(compact, given), integers_of(expanded, given)
    assert all((found[name] == array).all() for name, array in full.items())
    layer = compact.graph.layers[0]
    assert (layer["parameters"], layer["component_bytes"], layer["matrix_bytes"]) == (192, 192, 768)
    operators = [node.op_type for node in compact.model.graph.node]
    assert operators.count("HamiltonMatrix") == 2
    assert operators.count("GateRows") == (2 if layout == "per-gate" else 0)


def test_a_bundle_verifies_and_streams(tmp_path: Any) -> None:
    import qdeploy

    torch.manual_seed(3)
    x = np.random.default_rng(7).random((8, 12, INPUTS)).astype(np.float32)
    bundle = qdeploy.export_model(Classifier("leaky-relu", 1.0).eval(), tmp_path / "bundle", calibration={"x": x})
    assert bundle.verify().passed
    report = bundle.inspect()
    assert report.operators["LiGRU"] == 2
    assert [layer.extra["activation"] for layer in report.layers[:2]] == ["sigmoid, leaky ReLU"] * 2
