"""Quaternion recurrent layers from torch: one node a layer, and the four components stay the stored weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from qdeploy.capture import capture
from qdeploy.expanded_float import expanded_float

torch = pytest.importorskip("torch")

from qdeploy.models import QuaternionGRU, QuaternionLSTM, QuaternionRNN  # noqa: E402  # torch may be missing

LAYERS = {
    "rnn-tanh": (lambda: QuaternionRNN(8, 12), "RNN:tanh", None),
    "rnn-relu": (lambda: QuaternionRNN(8, 12, "relu"), "RNN:relu", None),
    "gru": (lambda: QuaternionGRU(8, 12), "GRU:reset_after", (4, [0, 1, 2])),
    "lstm": (lambda: QuaternionLSTM(8, 12), "LSTM:zeros", (4, [0, 1, 2, 3])),
    "lstm-per-part": (lambda: QuaternionLSTM(8, 12, "per-part"), "LSTM:zeros", (1, [0, 1, 3, 2])),
}


class Model(torch.nn.Module):
    """A layer whose every state and last states leave the network."""

    def __init__(self, layer, *, stateful=False):
        super().__init__()
        self.rnn, self.stateful = layer, stateful

    def forward(self, x, h=None, c=None):
        initial = None if h is None else h if c is None else (h, c)
        states, last = self.rnn(x, initial)
        return (states, *last) if isinstance(last, tuple) else (states, last)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(rng, operators, run, name):
    make, node, rows = LAYERS[name]
    torch.manual_seed(0)
    module, samples = Model(make()).eval(), {"x": rng.normal(size=(5, 7, 8)).astype(np.float32)}
    captured = capture(module, samples, time_axis=0)
    of_matrix = ["HamiltonMatrix:blocked"] + ["GateRows"] * (rows is not None)
    assert operators(captured) == [*of_matrix, *of_matrix, node]
    components = [f"rnn.{product}_{part}_weight" for product in ("input", "recurrent") for part in "rijk"]
    read = [name for graph_node in captured.model.graph.node for name in graph_node.input]
    assert [name for name in read if name.endswith("_weight")] == components
    if rows is not None:
        attributes = {a.name: a.i or list(a.ints) for a in captured.model.graph.node[1].attribute}
        assert (attributes["parts"], attributes["order"]) == rows
    expected = module(torch.from_numpy(captured.arrange(samples)["x"]))
    found = run(captured, samples)
    for array, wanted in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(array, wanted.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_initial_states_are_inputs(rng, operators, run, name):
    make, node, _ = LAYERS[name]
    torch.manual_seed(0)
    module = Model(make()).eval()
    samples = {"x": rng.normal(size=(5, 7, 8)).astype(np.float32), "h": rng.random((5, 12)).astype(np.float32)}
    if "LSTM" in node:
        samples["c"] = rng.random((5, 12)).astype(np.float32)
    captured = capture(module, samples, time_axis=0)
    assert operators(captured)[-1] == ("LSTM:states" if "LSTM" in node else f"{node}_h0")
    expected = module(*(torch.from_numpy(spec.arrange(samples[spec.name])) for spec in captured.inputs))
    for array, wanted in zip(run(captured, samples).values(), expected, strict=True):
        np.testing.assert_allclose(array, wanted.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_expanded_float_model_computes_the_same(rng, name):
    from qdeploy.capture import FloatSession

    samples = {"x": rng.normal(size=(5, 7, 8)).astype(np.float32)}
    captured = capture(Model(LAYERS[name][0]()).eval(), samples, time_axis=0)
    expanded = expanded_float(captured.model)
    assert [node.op_type for node in expanded.graph.node] == [LAYERS[name][1].split(":")[0]]
    feeds = captured.arrange(samples)
    for output, array in FloatSession(captured.model).run(feeds).items():
        np.testing.assert_allclose(FloatSession(expanded).run(feeds)[output], array, atol=1e-6)


LSTM_FILE = """
    <ir_version: 8, opset_import: ["": 17]>
    lstm (float[T, 2, 8] x) => (float[T, 1, 2, 12] y) {
        y, h, c = LSTM <hidden_size = 12> (x, w, r, b)
    }"""


def expanded(rng, rows, columns):
    """A Hamilton matrix [4 rows, 4 columns], and its components."""
    parts = rng.normal(size=(4, rows, columns)).astype(np.float32)
    r, i, j, k = parts
    return np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]]), parts


# Where the gates of the Hamilton matrix' rows, in our order, stand in ONNX's i, o, f, c: per gate from i, f, g, o; per part
# from SpeechBrain's i, f, o, c.
@pytest.mark.parametrize(
    ("parts", "gates", "order"), [(4, [0, 3, 1, 2], [0, 1, 2, 3]), (1, [0, 2, 1, 3], [0, 1, 3, 2])]
)
def test_matrices_in_files_are_recognised_by_their_numbers(rng, onnx_file, operators, run, parts, gates, order):
    weights, components = {"b": rng.normal(size=(1, 96)).astype(np.float32)}, {}
    for name, columns in (("w", 2), ("r", 3)):
        matrix, components[name] = expanded(rng, 12, columns)
        weights[name] = matrix.reshape(parts, 4, -1, 4 * columns).swapaxes(0, 1)[gates].reshape(1, *matrix.shape)
    path = onnx_file(LSTM_FILE, weights)
    samples = {"x": rng.normal(size=(2, 6, 8)).astype(np.float32)}
    captured = capture(path, samples, time_axis=0)
    matrix = ["HamiltonMatrix:blocked", "GateRows"]
    assert operators(captured) == [*matrix, *matrix, "LSTM:zeros", "Unsqueeze"]
    attributes = {a.name: a.i or list(a.ints) for a in captured.model.graph.node[1].attribute}
    assert attributes == {"parts": parts, "order": order}
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in captured.model.graph.initializer}
    for node, name in ((captured.model.graph.node[0], "w"), (captured.model.graph.node[2], "r")):
        for value, component in zip(node.input, components[name], strict=True):
            assert np.array_equal(stored[value], component)
    from qdeploy.runtime.engines import open_engine

    feeds = captured.arrange(samples)
    expected = open_engine("onnxruntime", onnx.load(path)).run(feeds)["y"]
    np.testing.assert_allclose(run(captured, samples)["y"], expected, atol=1e-5)


@pytest.mark.parametrize("change", ["one weight", "one sign", "zeros"])
def test_matrices_that_are_none(rng, onnx_file, operators, change):
    weights = {"b": np.zeros((1, 96), np.float32)}
    for name, columns in (("w", 2), ("r", 3)):
        weights[name] = expanded(rng, 12, columns)[0].reshape(4, 4, -1, 4 * columns).swapaxes(0, 1).reshape(1, 48, -1)
        if change == "one weight":
            weights[name][0, 0, 0] = np.nextafter(weights[name][0, 0, 0], np.float32(9))
        elif change == "one sign":
            weights[name][0, 5, 1] *= -1
        else:
            weights[name][:] = 0
    captured = capture(onnx_file(LSTM_FILE, weights), {"x": rng.random((2, 6, 8)).astype(np.float32)}, time_axis=0)
    assert operators(captured) == ["LSTM:zeros", "Unsqueeze"]


CONCAT_FILE = """
    <ir_version: 8, opset_import: ["": 17]>
    rnn (float[T, 2, 8] x) => (float[T, 1, 2, 4] y) {
        ni = Neg (i) nj = Neg (j) nk = Neg (k)
        a = Concat <axis = 1> (r, ni, nj, nk) b = Concat <axis = 1> (i, r, nk, j)
        c = Concat <axis = 1> (j, k, r, ni) d = Concat <axis = 1> (k, nj, i, r)
        matrix = Concat <axis = 0> (a, b, c, d)
        zero = Constant <value = int64[1] {0}> ()
        w = Unsqueeze (matrix, zero)
        y, h = RNN <hidden_size = 4> (x, w, real)
    }"""


def test_components_that_a_file_concatenates_for_a_recurrent_layer(rng, onnx_file, operators):
    weights = {name: rng.normal(size=(1, 2)).astype(np.float32) for name in "rijk"}
    weights["real"] = rng.normal(size=(1, 4, 4)).astype(np.float32)
    captured = capture(onnx_file(CONCAT_FILE, weights), {"x": rng.random((2, 6, 8)).astype(np.float32)}, time_axis=0)
    # The recurrent matrix of this layer is a real one.
    assert operators(captured) == ["HamiltonMatrix:blocked", "RNN:tanh", "Unsqueeze"]


def test_a_captured_file_is_captured_again(rng, operators, tmp_path):
    samples = {"x": rng.normal(size=(2, 6, 8)).astype(np.float32)}
    captured = capture(Model(QuaternionGRU(8, 12)).eval(), samples, time_axis=0)
    onnx.save(captured.model, tmp_path / "model.onnx")
    again = capture(tmp_path / "model.onnx", samples, time_axis=0)
    assert operators(again) == operators(captured)
