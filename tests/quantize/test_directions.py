"""Both directions of a sequence, and initial states that come as a stack: from torch and ONNX to bundles."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import qdeploy
from qdeploy.runtime.errors import InvalidInputError

torch = pytest.importorskip("torch")

INPUTS, HIDDEN, CLASSES, STEPS, SAMPLES = 3, 8, 4, 13, 24
LAYERS = {"RNN": torch.nn.RNN, "GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}
GENERATOR = np.random.default_rng(0)
X = (GENERATOR.integers(0, 256, (SAMPLES, STEPS, INPUTS)) / 256).astype(np.float32)


class Network(torch.nn.Module):
    """A recurrent layer and an output layer over every state, of sequences [B, T, I]."""

    def __init__(self, kind: str, *, batch_first: bool = True, bidirectional: bool = True, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rnn = LAYERS[kind](INPUTS, HIDDEN, layers, batch_first=batch_first, bidirectional=bidirectional)
        self.head = torch.nn.Linear(HIDDEN * (2 if bidirectional else 1), CLASSES)

    def forward(self, x: Any) -> Any:
        if self.rnn.batch_first:
            return self.head(self.rnn(x)[0])
        return self.head(self.rnn(x.transpose(0, 1))[0].transpose(0, 1))


class StatesGiven(Network):
    """The same from states of the caller's, ``[layers and directions, B, H]``; the last ones are results."""

    def forward(self, x: Any, h: Any, c: Any = None) -> Any:
        states, last = self.rnn(x, h if c is None else (h, c))
        return self.head(states), last if c is None else last[1]


def near(computed: np.ndarray, wanted: np.ndarray, largest: float = 0.02) -> bool:
    return bool(np.sqrt(((computed - wanted) ** 2).mean() / (wanted**2).mean()) < largest)


@pytest.mark.parametrize(("layers", "batch_first"), [(2, True), (1, False)])
@pytest.mark.parametrize("kind", LAYERS)
def test_both_directions(kind: str, batch_first: bool, layers: int, tmp_path: Any) -> None:
    module = Network(kind, batch_first=batch_first, layers=layers).eval()
    bundle = qdeploy.export_model(module, tmp_path / "out", calibration={"x": X})
    assert bundle.verify(samples=2).passed
    assert bundle.manifest.whole_sequences
    with torch.no_grad():
        wanted = module(torch.from_numpy(X)).numpy()
    found = bundle.run({"x": X})["output"]
    assert near(found, wanted)
    # The second half of a sequence changes the first half's answers: the reverse layer sees it.
    changed = X.copy()
    changed[:, STEPS // 2 :] = 0
    assert not np.array_equal(bundle.run({"x": changed})["output"][:, 0], found[:, 0])


def test_a_sequence_cannot_be_cut(tmp_path: Any) -> None:
    bundle = qdeploy.export_model(Network("GRU").eval(), tmp_path / "out", calibration={"x": X})
    session = bundle.session()
    whole = session.run({"x": X})["output"]
    # The next call is another sequence: nothing is left of the last one.
    assert np.array_equal(session.run({"x": X})["output"], whole)
    with pytest.raises(InvalidInputError, match="expected whole ones"):
        session.step({"x": X[:, 0]})
    with pytest.raises(InvalidInputError, match="expected whole ones"):
        session.save_state(tmp_path / "state.npz")
    assert not (tmp_path / "state.npz").exists()
    assert "whole sequences only" in "\n".join(bundle.inspect().lines())


def test_one_direction_is_no_whole_sequence(tmp_path: Any) -> None:
    bundle = qdeploy.export_model(Network("GRU", bidirectional=False).eval(), tmp_path / "out", calibration={"x": X})
    assert not bundle.manifest.whole_sequences
    assert len(bundle.manifest.states) == 1


@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, True)])
@pytest.mark.parametrize("kind", LAYERS)
def test_states_that_come_as_a_stack(kind: str, layers: int, bidirectional: bool, tmp_path: Any) -> None:
    module = StatesGiven(kind, layers=layers, bidirectional=bidirectional).eval()
    count = layers * (2 if bidirectional else 1)
    generator = np.random.default_rng(count)
    samples = {"x": X, "h": generator.uniform(-0.9, 0.9, (SAMPLES, count, HIDDEN)).astype(np.float32)}
    if kind == "LSTM":
        samples["c"] = generator.uniform(-1.5, 1.5, (SAMPLES, count, HIDDEN)).astype(np.float32)
    bundle = qdeploy.export_model(module, tmp_path / "out", calibration=samples)
    assert bundle.verify(samples=2).passed
    assert [spec.shape for spec in bundle.manifest.inputs][1] == (count, "batch", HIDDEN)
    feeds = {name: array if name == "x" else array.transpose(1, 0, 2) for name, array in samples.items()}
    with torch.no_grad():
        wanted = module(*(torch.from_numpy(np.ascontiguousarray(array)) for array in feeds.values()))
    for found, output in zip(bundle.run(feeds).values(), wanted, strict=True):
        assert near(found, output.numpy())


def operator(kind: str, direction: str, *, states: bool = False) -> onnx.ModelProto:
    """A file with one ONNX operator of random weights over [T, B, I]; with ``states`` from [directions, B, H]."""
    gates, count = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind], 2 if direction == "bidirectional" else 1
    generator = np.random.default_rng(gates)
    shapes = {
        "w": (count, gates * HIDDEN, INPUTS),
        "r": (count, gates * HIDDEN, HIDDEN),
        "b": (count, 2 * gates * HIDDEN),
    }
    attributes: dict[str, Any] = {"hidden_size": HIDDEN, "direction": direction}
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if kind == "RNN":
        attributes["activations"] = ["Tanh", "Relu"][:count]
    names = (["h", "c"] if kind == "LSTM" else ["h"]) if states else []
    node = onnx.helper.make_node(kind, ["x", *shapes, *([""] if names else []), *names], ["y", "last"], **attributes)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [
            value("x", onnx.TensorProto.FLOAT, ["time", "batch", INPUTS]),
            *(value(name, onnx.TensorProto.FLOAT, [count, "batch", HIDDEN]) for name in names),
        ],
        [
            value("y", onnx.TensorProto.FLOAT, ["time", count, "batch", HIDDEN]),
            value("last", onnx.TensorProto.FLOAT, [count, "batch", HIDDEN]),
        ],
        [
            onnx.numpy_helper.from_array(generator.uniform(-0.5, 0.5, shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("direction", "states"), [("forward", True), ("reverse", False), ("bidirectional", False), ("bidirectional", True)]
)
@pytest.mark.parametrize("kind", LAYERS)
def test_onnx_operators(kind: str, direction: str, states: bool, tmp_path: Any) -> None:
    import onnxruntime

    model = operator(kind, direction, states=states)
    onnx.save(model, tmp_path / "float.onnx")
    count = 2 if direction == "bidirectional" else 1
    generator = np.random.default_rng(3)
    samples = {"x": X}
    for name in ([value.name for value in model.graph.input])[1:]:
        samples[name] = generator.uniform(0, 0.9, (SAMPLES, count, HIDDEN)).astype(np.float32)
    bundle = qdeploy.export_model(tmp_path / "float.onnx", tmp_path / "out", calibration=samples, time_axis=0)
    assert bundle.verify(samples=2).passed
    assert bundle.manifest.whole_sequences == (direction != "forward" or states)
    feeds = {name: np.ascontiguousarray(array.swapaxes(0, 1)) for name, array in samples.items()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for wanted, found in zip(session.run(None, feeds), bundle.run(feeds).values(), strict=True):
        assert found.shape == wanted.shape
        assert near(found, wanted)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("chosen", [("h",), ("c",), ("h", "c"), ("y", "c")])
def test_outputs_that_are_states(chosen: tuple[str, ...], direction: str, tmp_path: Any) -> None:
    """Each of an LSTM's results, of whatever scale and bits, leaves the network alone and beside the others."""
    import onnxruntime

    model = operator("LSTM", direction)
    model.graph.node[0].output[:] = [name if name in chosen else "" for name in ("y", "h", "c")]
    count = 2 if direction == "bidirectional" else 1
    del model.graph.output[:]
    for name in chosen:
        shape = ["time", count, "batch", HIDDEN] if name == "y" else [count, "batch", HIDDEN]
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    onnx.save(model, tmp_path / "float.onnx")
    bundle = qdeploy.export_model(tmp_path / "float.onnx", tmp_path / "out", calibration={"x": X}, time_axis=0)
    assert bundle.verify(samples=2).passed
    feeds = {"x": np.ascontiguousarray(X.swapaxes(0, 1))}
    found = bundle.run(feeds)
    assert tuple(found) == chosen
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for wanted, array in zip(session.run(None, feeds), found.values(), strict=True):
        assert array.shape == wanted.shape
        assert near(array, wanted)


def test_layout_1_and_full_lengths_become_a_bundle(tmp_path: Any) -> None:
    """The bundle of a file of layout 1 takes the batch first, and its lengths are gone."""
    plain, model = operator("GRU", "bidirectional"), operator("GRU", "bidirectional")
    node = model.graph.node[0]
    node.attribute.append(onnx.helper.make_attribute("layout", 1))
    node.input.append("lengths")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(SAMPLES, STEPS, np.int32), "lengths"))
    del model.graph.input[:]
    del model.graph.output[:]
    value = onnx.helper.make_tensor_value_info
    model.graph.input.append(value("x", onnx.TensorProto.FLOAT, [SAMPLES, STEPS, INPUTS]))
    model.graph.output.append(value("y", onnx.TensorProto.FLOAT, [SAMPLES, STEPS, 2, HIDDEN]))
    model.graph.output.append(value("last", onnx.TensorProto.FLOAT, [SAMPLES, 2, HIDDEN]))
    results = []
    for name, one, time_axis in (("plain", plain, 0), ("layout", model, 1)):
        onnx.save(one, tmp_path / f"{name}.onnx")
        bundle = qdeploy.export_model(
            tmp_path / f"{name}.onnx", tmp_path / name, calibration={"x": X}, time_axis=time_axis
        )
        assert bundle.verify(samples=2).passed
        feeds = {"x": X if time_axis else np.ascontiguousarray(X.swapaxes(0, 1))}
        results.append(bundle.run(feeds, raw=True))
    assert np.array_equal(results[1]["y"], results[0]["y"].transpose(2, 0, 1, 3))
    assert np.array_equal(results[1]["last"], results[0]["last"].transpose(1, 0, 2))
