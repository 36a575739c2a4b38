"""LSTM from torch to integers: the engines agree to the bit, the float is near, and a bundle streams."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from qdeploy.calibration import Calibration, calibrate
from qdeploy.export.onnx import check_integer_only
from qdeploy.export.onnx.expose import expose
from qdeploy.quantize import load_recipe, quantize
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import dequantize
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.studies.subject import integer_feeds

torch = pytest.importorskip("torch")

INPUTS, HIDDEN, CLASSES, STEPS, SAMPLES = 3, 20, 4, 24, 12
DEFAULT = load_recipe("default")


class Classifier(torch.nn.Module):
    """One or two layers and a head over every state; the last cell state leaves the network as well."""

    def __init__(self, layers: int, gain: float, projected: int = 0) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(INPUTS, HIDDEN, layers, batch_first=True, proj_size=projected)
        self.head = torch.nn.Linear(projected or HIDDEN, CLASSES)
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.mul_(gain)

    def forward(self, x: Any) -> Any:
        states, (_, cell) = self.rnn(x)
        return self.head(states), cell[-1]


@cache
def network(
    layers: int, gain: float, projected: int = 0
) -> tuple[Any, Calibration, dict[str, np.ndarray], list[np.ndarray]]:
    """A captured torch module, its calibration, its feeds, and what torch itself computes."""
    from qdeploy.capture import capture

    torch.manual_seed(3)
    module = Classifier(layers, gain, projected).eval()
    x = np.random.default_rng(7).integers(0, 256, (SAMPLES, STEPS, INPUTS)).astype(np.float32) / 256
    captured = capture(module, {"x": x})
    feeds = captured.arrange({"x": x})
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    with torch.no_grad():
        return captured, statistics, feeds, [output.numpy() for output in module(torch.from_numpy(x))]


CASES: list[tuple[int, float, dict[str, Any], float]] = [
    (1, 1.0, {}, 0.006),
    (2, 1.0, {}, 0.006),
    (1, 4.0, {}, 0.02),
    (2, 4.0, {}, 0.04),
    (1, 1.0, {"state_bits": 16}, 0.006),
    (1, 1.0, {"state_bits": 10}, 0.01),
    (1, 4.0, {"state_bits": 8}, 0.04),
    (1, 1.0, {"state_bits": 6}, 0.15),
    (1, 1.0, {"weight_bits": 6}, 0.03),
    (1, 1.0, {"recurrent_granularity": "per_channel"}, 0.006),
    (1, 1.0, {"weight_granularity": "per_tensor"}, 0.006),
    (2, 4.0, {"multiplier_bits": 1}, 0.04),
    (1, 1.0, {"multiplier_bits": 31}, 0.006),
    (1, 1.0, {"state_range": "mse"}, 0.006),
    (1, 1.0, {"state_range": "power-of-two", "state_bits": 8}, 0.03),
]
"""Layers, gain of the weights, recipe, and the largest root of the mean squared error over that of the outputs."""


@pytest.mark.parametrize(("layers", "gain", "changes", "largest"), CASES)
def test_every_engine_gives_the_same_bits_and_the_float_is_near(
    layers: int, gain: float, changes: dict[str, Any], largest: float
) -> None:
    check(*network(layers, gain), changes, largest)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("layers", "gain", "changes", "largest"),
    [(1, 1.0, {}, 0.01), (2, 2.0, {}, 0.02), (1, 2.0, {"state_bits": 8}, 0.04), (1, 2.0, {"weight_bits": 4}, 0.2)],
)
def test_projected_layers(layers: int, gain: float, changes: dict[str, Any], largest: float) -> None:
    check(*network(layers, gain, 7), changes, largest)


def check(
    captured: Any,
    statistics: Calibration,
    feeds: dict[str, np.ndarray],
    real: list[np.ndarray],
    changes: dict[str, Any],
    largest: float,
) -> None:
    """All engines agree on every state, and the outputs are near those of torch."""
    integers = quantize(captured.model, statistics, DEFAULT.changed(**changes))
    check_integer_only(integers.model)
    given = integer_feeds(captured, integers, feeds)
    # Every state of every step is compared, not only what leaves the network.
    shown = expose(integers.model)
    expected = ReferenceModel(shown).run(given).outputs
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, shown).run(given)
        assert all((found[name] == array).all() for name, array in expected.items()), engine
    names = [value.name for value in captured.model.graph.output]
    for name, wanted in zip(names, real, strict=True):
        kind = integers.graph.types[name]
        computed = dequantize(expected[name], kind.scale, kind.zero_point)
        assert computed.shape == wanted.shape
        assert np.sqrt(((computed - wanted) ** 2).mean() / (wanted**2).mean()) <= largest, name


def test_calibration_sees_the_cell_state_and_the_gates() -> None:
    captured, statistics, feeds, real = network(1, 4.0)
    del feeds
    states = next(node.output[0] for node in captured.model.graph.node if node.op_type == "LSTM")
    cell = statistics[f"{states}/cell"]
    assert cell.low <= real[1].min()
    assert cell.high >= real[1].max()
    assert max(-cell.low, cell.high) > 1
    assert statistics[f"{states}/gates"].low < 0 < statistics[f"{states}/gates"].high
    integers = quantize(captured.model, statistics, DEFAULT)
    kind = integers.graph.types[integers.graph.states[1].output]
    assert 2**14 * kind.scale < max(-cell.low, cell.high) <= 2**15 * kind.scale
    assert np.log2(kind.scale) % 1 == 0


def test_initial_states_of_the_users_are_within_the_states() -> None:
    from qdeploy.capture import capture

    class Given(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = torch.nn.LSTM(INPUTS, HIDDEN)

        def forward(self, x: Any, h: Any, c: Any) -> Any:
            return self.rnn(x, (h.unsqueeze(0), c.unsqueeze(0)))[0]

    generator = np.random.default_rng(2)
    torch.manual_seed(0)
    samples = {"x": generator.random((SAMPLES, STEPS, INPUTS)).astype(np.float32)}
    samples |= {name: generator.normal(size=(SAMPLES, HIDDEN)).astype(np.float32) * 3 for name in "hc"}
    module = Given().eval()
    captured = capture(module, samples, time_axis=0)
    feeds = captured.arrange(samples)
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    integers = quantize(captured.model, statistics, DEFAULT)
    assert {state.input for state in integers.graph.states} == {"h", "c"}
    given = {"x": integer_feeds(captured, integers, {"x": feeds["x"]})["x"]}
    for state in integers.graph.states:
        kind = state.type
        assert kind.scale * kind.high >= 0.99 * abs(samples[state.input]).max()
        steps = np.rint(samples[state.input] / kind.scale) + kind.zero_point
        given[state.input] = np.clip(steps, kind.low, kind.high).astype(kind.dtype)
    shown = expose(integers.model)
    expected = ReferenceModel(shown).run(given).outputs
    found = open_engine("onnxruntime", shown).run(given)
    assert all((found[name] == array).all() for name, array in expected.items())
    with torch.no_grad():
        real = module(*(torch.from_numpy(feeds[name]) for name in "xhc")).numpy()
    kind = integers.graph.types[integers.outputs[0]]
    computed = dequantize(expected[integers.outputs[0]], kind.scale, kind.zero_point)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) < 0.02


def test_a_state_that_the_network_computes_is_refused() -> None:
    from qdeploy.capture import capture

    class Encoded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.LSTM(INPUTS, HIDDEN), torch.nn.LSTM(INPUTS, HIDDEN)

        def forward(self, x: Any) -> Any:
            return self.second(x, self.first(x)[1])[0]

    x = np.random.default_rng(1).random((SAMPLES, STEPS, INPUTS)).astype(np.float32)
    captured = capture(Encoded(), {"x": x}, time_axis=0)
    feeds = captured.arrange({"x": x})
    statistics = calibrate(captured.model, feeds, {"x": 1})
    with pytest.raises(UnsupportedModelError, match=r"initial state .* is computed by the network"):
        quantize(captured.model, statistics, DEFAULT)


@pytest.mark.parametrize("options", [{}, {"float_io": True}, {"inline": True}, {"recipe": "w4a8"}])
def test_a_bundle_verifies_and_streams(options: dict[str, Any], tmp_path: Any) -> None:
    """The whole way, as a user goes it; any split of the steps into calls gives the bits of one call."""
    import qdeploy

    torch.manual_seed(3)
    module = Classifier(2, 1.0).eval()
    x = np.random.default_rng(7).random((SAMPLES, STEPS, INPUTS)).astype(np.float32)
    bundle = qdeploy.export_model(module, tmp_path / "out", calibration=x, **options)
    report = bundle.verify(samples=2)
    assert report.passed
    assert len(bundle.manifest.states) == 4
    whole = bundle.session().run({"x": x[:2]})
    session = bundle.session()
    pieces = [session.run({"x": x[:2, start:stop]}) for start, stop in ((0, 1), (1, 2), (2, 11), (11, STEPS))]
    name = next(spec.name for spec in bundle.manifest.outputs if "time" in spec.shape)
    assert np.array_equal(np.concatenate([piece[name] for piece in pieces], axis=1), whole[name])
