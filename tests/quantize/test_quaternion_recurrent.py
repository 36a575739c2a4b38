"""Quaternion recurrent layers as integers: components are what is stored, and all storages give the same bits."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.calibration import Calibration, calibrate
from qdeploy.export.onnx import check_integer_only
from qdeploy.export.onnx.expose import expose
from qdeploy.quantize import IntegerModel, load_recipe, quantize
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.numeric import dequantize
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.studies.subject import integer_feeds

torch = pytest.importorskip("torch")

from qdeploy.capture import capture  # noqa: E402  # torch may be missing
from qdeploy.models import QuaternionGRU, QuaternionLSTM, QuaternionRNN  # noqa: E402

INPUTS, HIDDEN, CLASSES, STEPS, SAMPLES = 8, 16, 4, 20, 10
DEFAULT = load_recipe("default")
CELLS = {
    "rnn-tanh": lambda inputs: QuaternionRNN(inputs, HIDDEN),
    "rnn-relu": lambda inputs: QuaternionRNN(inputs, HIDDEN, "relu"),
    "gru": lambda inputs: QuaternionGRU(inputs, HIDDEN),
    "lstm": lambda inputs: QuaternionLSTM(inputs, HIDDEN),
    "lstm-per-part": lambda inputs: QuaternionLSTM(inputs, HIDDEN, "per-part"),
}


class Classifier(torch.nn.Module):
    """Two layers, and a head over every state."""

    def __init__(self, cell: str, gain: float) -> None:
        super().__init__()
        self.first, self.second = CELLS[cell](INPUTS), CELLS[cell](HIDDEN)
        self.head = torch.nn.Linear(HIDDEN, CLASSES)
        with torch.no_grad():
            for layer in (self.first, self.second):
                for parameter in layer.parameters():
                    parameter.mul_(gain)
                layer.bias.uniform_(-0.3, 0.3)

    def forward(self, x: Any) -> Any:
        return self.head(self.second(self.first(x)[0])[0])


@cache
def network(cell: str, gain: float = 1.0, grid: int = 0) -> tuple[Any, Calibration, dict[str, np.ndarray], np.ndarray]:
    """A captured module, its calibration, its feeds, and torch's own outputs; weights on a grid of ``grid`` bits, if any."""
    torch.manual_seed(3)
    module = Classifier(cell, gain).eval()
    if grid:
        with torch.no_grad():
            for layer in (module.first, module.second):
                for part in (layer.input_components(), layer.recurrent_components()):
                    step = max(float(one.abs().max()) for one in part) / 2 ** (grid - 1)
                    for one in part:
                        one.copy_((one / step).round().clamp(-(2 ** (grid - 1)), 2 ** (grid - 1) - 1) * step)
    x = np.random.default_rng(7).integers(0, 256, (SAMPLES, STEPS, INPUTS)).astype(np.float32) / 256
    captured = capture(module, {"x": x}, time_axis=0)
    feeds = captured.arrange({"x": x})
    statistics = calibrate(captured.model, feeds, {spec.name: spec.batch_axis for spec in captured.inputs})
    with torch.no_grad():
        return captured, statistics, feeds, module(torch.from_numpy(feeds["x"])).numpy()


def all_tensors(captured: Any, integers: IntegerModel, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every activation and every state of every step; the reference, the bodies and onnxruntime agree on them."""
    check_integer_only(integers.model)
    given = integer_feeds(captured, integers, feeds)
    shown = expose(integers.model)
    expected = ReferenceModel(shown).run(given).outputs
    for engine in ("bodies", "onnxruntime"):
        found = open_engine(engine, shown).run(given)
        assert all((found[name] == array).all() for name, array in expected.items()), engine
    return expected


CASES: list[tuple[dict[str, Any], float]] = [
    ({}, 0.02),
    ({"recurrent_granularity": "per_channel"}, 0.04),
    ({"weight_granularity": "per_tensor"}, 0.03),
    ({"weight_bits": 4, "recurrent_granularity": "per_channel"}, 0.5),
    # Two bits of untrained weights compute something else; what counts is that all storages compute the same.
    ({"weight_bits": 2}, 3.0),
    ({"state_bits": 8}, 0.06),
    ({"state_bits": 16, "multiplier_bits": 31}, 0.02),
]


@pytest.mark.parametrize(("changes", "largest"), CASES)
@pytest.mark.parametrize("cell", CELLS)
def test_compact_and_expanded_storage_give_the_same_bits_near_the_float(
    cell: str, changes: dict[str, Any], largest: float
) -> None:
    captured, statistics, feeds, real = network(cell)
    recipe = DEFAULT.changed(**changes)
    compact, expanded = (
        quantize(captured.model, statistics, recipe, storage=storage) for storage in ("compact", "expanded")
    )
    found = all_tensors(captured, compact, feeds)
    for name, array in all_tensors(captured, expanded, feeds).items():
        assert (array == found[name]).all(), name
    kind = compact.graph.types[compact.outputs[0]]
    computed = dequantize(found[compact.outputs[0]], kind.scale, kind.zero_point)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= largest

    operators = [node.op_type for node in compact.model.graph.node]
    assert operators.count("HamiltonMatrix") == 4
    assert operators.count("GateRows") == (0 if "rnn" in cell else 4)
    assert not {"HamiltonMatrix", "GateRows"} & {node.op_type for node in expanded.model.graph.node}
    gates = 4 if "lstm" in cell else 3 if cell == "gru" else 1
    layers = [layer for layer in compact.graph.layers if layer["name"] in ("first", "second")]
    for layer, inputs in zip(layers, (INPUTS, HIDDEN), strict=True):
        size = gates * HIDDEN * (inputs + HIDDEN)
        stored = recipe.weight_bits
        assert (layer["parameters"], layer["macs"]) == (size // 4, size)
        assert (layer["component_bytes"], layer["matrix_bytes"]) == (size // 4 * stored // 8, size * stored // 8)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_a_trained_grid_come_back(cell: str) -> None:
    captured, statistics, feeds, _ = network(cell, 1.0, 4)
    integers = quantize(captured.model, statistics, DEFAULT)
    all_tensors(captured, integers, feeds)
    floats = {t.name: onnx.numpy_helper.to_array(t) for t in captured.model.graph.initializer}
    assert [layer["exact_grid"] for layer in integers.graph.layers[:2]] == [True, True]
    # Components of four bits stay components of four bits, although a negated -8 needs a fifth.
    assert [layer["weight_bits"] for layer in integers.graph.layers[:2]] == [4, 4]
    packed = {t.name: onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer}
    for layer in ("first", "second"):
        names = [f"{layer}.{product}_{part}_weight" for product in ("input", "recurrent") for part in "rijk"]
        for name in names:
            (weight,) = OPERATORS["UnpackWeights"].meaning(
                Node("w"), packed[f"{name}.packed"], bits=4, shape=list(floats[name].shape)
            )
            scale = np.reshape(integers.graph.constants_info[f"{name}.packed"]["scale"], (-1, 1))
            assert (np.float32(weight * scale) == floats[name]).all()


def test_a_dead_quaternion_of_a_gru_keeps_its_bias_and_its_structure() -> None:
    torch.manual_seed(0)
    module = Classifier("gru", 1.0).eval()
    with torch.no_grad():
        for one in (*module.first.input_components(), *module.first.recurrent_components()):
            one[1] *= 1e-8
        # One of the four parts needs coarser weights; its three companions must follow.
        module.first.bias[1] = 20.0
    x = np.random.default_rng(7).random((SAMPLES, STEPS, INPUTS)).astype(np.float32)
    captured = capture(module, {"x": x}, time_axis=0)
    feeds = captured.arrange({"x": x})
    statistics = calibrate(captured.model, feeds, {"x": 1})
    integers = quantize(captured.model, statistics, DEFAULT.changed(recurrent_granularity="per_channel"))
    assert integers.graph.layers[0]["quaternion"] is True
    found = all_tensors(captured, integers, feeds)
    real = module(torch.from_numpy(feeds["x"])).detach().numpy()
    kind = integers.graph.types[integers.outputs[0]]
    computed = dequantize(found[integers.outputs[0]], kind.scale, kind.zero_point)
    assert np.sqrt(((computed - real) ** 2).mean() / (real**2).mean()) <= 0.03


@pytest.mark.parametrize("cell", CELLS)
def test_steps_and_samples_alone_give_the_bits_of_all_together(cell: str) -> None:
    captured, statistics, feeds, _ = network(cell)
    integers = quantize(captured.model, statistics, DEFAULT)
    given = integer_feeds(captured, integers, feeds)
    model = expose(integers.model)
    states = {state.input: state.output for state in integers.graph.states}
    name = integers.outputs[0]
    for engine in ("numpy", "onnxruntime"):
        opened = open_engine(engine, model)
        whole = opened.run(given)
        held = {key: given[key] for key in states}
        for step in range(STEPS):
            found = opened.run({"x": given["x"][step : step + 1], **held})
            assert (found[name][0] == whole[name][step]).all()
            held = {key: found[output] for key, output in states.items()}
        for key, output in states.items():
            assert (held[key] == whole[output]).all()
        one = {key: array[:, 3:4] if key == "x" else array[3:4] for key, array in given.items()}
        assert (opened.run(one)[name][:, 0] == whole[name][:, 3]).all()


def test_a_bundle_streams_and_says_its_bytes(tmp_path: Any) -> None:
    import qdeploy

    captured, _, feeds, _ = network("lstm")
    torch.manual_seed(3)
    samples = np.moveaxis(feeds["x"], 1, 0)
    bundle = qdeploy.export_model(
        Classifier("lstm", 1.0).eval(), tmp_path / "bundle", calibration={"x": samples}, time_axis=0
    )
    assert bundle.verify().passed
    line = next(line for line in bundle.inspect().lines() if "quaternion weights" in line)
    assert line == (
        "first: quaternion weights of 384 bytes; 1,536 as real matrices of integers, 1,536 as components in float32, "
        "6,144 as real matrices in float32"
    )
    del captured
