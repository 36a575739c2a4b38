"""LSTM from torch and from ONNX files: the float layer form computes what the source does, and the rest is refused by name."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from qdeploy.capture import FloatSession, capture
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import UnsupportedModelError

HIDDEN = 5


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_torch_layers(rng, operators, run, bias, batch_first, layers):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.LSTM(3, HIDDEN, layers, bias=bias, batch_first=batch_first, dropout=0.5 * (layers > 1))

        def forward(self, x):
            states, (hidden, cell) = self.rnn(x)
            return states, hidden, cell

    torch.manual_seed(1)
    module, samples = Model().eval(), {"x": rng.normal(size=(4, 9, 3)).astype(np.float32)}
    captured = capture(module, samples, time_axis=int(batch_first))
    assert operators(captured).count("LSTM:zeros") == layers
    # Each layer has a bias of its own, although all are zero where the module has none.
    assert len({node.input[3] for node in captured.model.graph.node if node.op_type == "LSTM"}) == layers
    expected = module(torch.from_numpy(captured.arrange(samples)["x"]))
    for found, wanted in zip(run(captured, samples).values(), expected, strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), atol=1e-5)
    assert captured.inputs[0].shape == (("batch", "time", 3) if batch_first else ("time", "batch", 3))


@pytest.mark.parametrize("state", ["zeros", "input"])
def test_initial_states(rng, operators, run, state):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.LSTM(3, HIDDEN)

        def forward(self, x, h=None, c=None):
            zeros = x.new_zeros(1, x.shape[1], HIDDEN)
            start = (zeros, zeros) if h is None else (h.unsqueeze(0), c.unsqueeze(0))
            _, (hidden, cell) = self.rnn(x, start)
            return torch.cat([hidden, cell], -1).squeeze(0)

    samples = {"x": rng.random((4, 8, 3)).astype(np.float32)}
    if state == "input":
        samples |= {name: rng.random((4, HIDDEN)).astype(np.float32) for name in "hc"}
    module = Model()
    captured = capture(module, samples, time_axis=0)
    assert (
        next(name for name in operators(captured) if "LSTM" in name)
        == f"LSTM:{'zeros' if state == 'zeros' else 'states'}"
    )
    expected = module(*(torch.from_numpy(spec.arrange(samples[spec.name])) for spec in captured.inputs))
    np.testing.assert_allclose(run(captured, samples)["output"], expected.detach().numpy(), atol=1e-5)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("start", ["none", "zeros", "input"])
@pytest.mark.parametrize("layers", [1, 2])
def test_projected_layers(rng, operators, run, start, layers):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.LSTM(3, HIDDEN, layers, proj_size=2, batch_first=True)

        def forward(self, x, h=None, c=None):
            if start == "none":
                states = None
            elif start == "zeros":
                states = (x.new_zeros(layers, x.shape[0], 2), x.new_zeros(layers, x.shape[0], HIDDEN))
            else:
                states = (torch.stack([h] * layers), torch.stack([c] * layers))
            every, (hidden, cell) = self.rnn(x, states)
            return every, hidden, cell

    torch.manual_seed(1)
    samples = {"x": rng.random((4, 9, 3)).astype(np.float32)}
    if start == "input":
        samples |= {"h": rng.random((4, 2)).astype(np.float32), "c": rng.random((4, HIDDEN)).astype(np.float32)}
    module = Model().eval()
    captured = capture(module, samples, time_axis=1)
    overload = "states" if start == "input" else "zeros"
    assert operators(captured).count(f"LSTM:{overload}") == layers
    expected = module(*(torch.from_numpy(spec.arrange(samples[spec.name])) for spec in captured.inputs))
    for found, wanted in zip(run(captured, samples).values(), expected, strict=True):
        np.testing.assert_allclose(found, wanted.detach().numpy(), atol=1e-5)


def test_the_last_step_of_all_states_is_the_last_state(rng, operators):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = torch.nn.LSTM(3, HIDDEN, batch_first=True), torch.nn.Linear(HIDDEN, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    captured = capture(Model(), {"x": rng.random((4, 8, 3)).astype(np.float32)})
    assert operators(captured) == ["Transpose", "LSTM:zeros", "Linear:bias"]
    assert captured.model.graph.node[2].input[0] == captured.model.graph.node[1].output[1]


def test_hooks_on_a_layer():
    torch = pytest.importorskip("torch")
    lstm = torch.nn.LSTM(3, 4, batch_first=True)
    lstm.register_forward_hook(lambda module, args, result: result)
    with pytest.raises(UnsupportedModelError, match=r"layer model \(LSTM\): found forward hooks"):
        capture(lstm, {"x": np.zeros((2, 40, 3), np.float32)})


# ONNX: X, W, R, B, sequence_lens, initial_h, initial_c, P.
FILE = """
    <ir_version: 8, opset_import: ["": {opset}]>
    lstm (float[{x}, 3] x{inputs}) => (float[{y}] y, float[{last}] h, float[{last}] c) {{
        {before}y, h, c = LSTM <hidden_size = 5{attributes}> (x, {arguments})
    }}"""


def weights(rng, directions=1):
    shapes = {"w": (20, 3), "r": (20, HIDDEN), "b": (40,), "peepholes": (15,)}
    made = {name: rng.normal(size=(directions, *shape)).astype(np.float32) / 2 for name, shape in shapes.items()}
    return made | {"lengths": np.array([1, 1], np.int32)}


def written(
    rng, onnx_file, *, attributes="", arguments="w, r, b", inputs="", before="", layout=0, directions=1, opset=17
):
    shapes = {
        0: {"x": "T, 2", "y": f"T, {directions}, 2, 5", "last": f"{directions}, 2, 5"},
        1: {"x": "2, T", "y": f"2, T, {directions}, 5", "last": f"2, {directions}, 5"},
    }[layout]
    if layout:
        attributes += ", layout = 1"
    text = FILE.format(opset=opset, attributes=attributes, arguments=arguments, inputs=inputs, before=before, **shapes)
    used = {
        name: array for name, array in weights(rng, directions).items() if name in arguments.replace(",", "").split()
    }
    return onnx_file(text, used)


def reference(parameters, x, h, c):
    """The layer by ONNX's own definition, in its order of gates i, o, f, c."""
    w, r = parameters["w"][0], parameters["r"][0]
    bias = parameters["b"][0][:20] + parameters["b"][0][20:] if "b" in parameters else np.zeros(20)
    states = []
    for given in x:
        i, o, f, g = np.split(given @ w.T + h @ r.T + bias, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        states.append(h)
    return np.stack(states), h, c


@pytest.mark.parametrize("arguments", ["w, r, b", "w, r", "w, r, b, , h1, c1"])
@pytest.mark.parametrize("opset", [14, 21])
def test_the_onnx_operator(rng, onnx_file, operators, arguments, opset):
    given = "h1" in arguments
    inputs, before = "", ""
    if given:
        inputs = ", float[2, 5] h0, float[2, 5] c0"
        before = "zero = Constant <value = int64[1] {0}> () h1 = Unsqueeze (h0, zero) c1 = Unsqueeze (c0, zero)\n"
    activations = ', activations = ["Sigmoid", "Tanh", "Tanh"]' if opset == 21 else ""
    path = written(
        rng, onnx_file, attributes=activations, arguments=arguments, inputs=inputs, before=before, opset=opset
    )
    samples = {"x": rng.random((2, 6, 3)).astype(np.float32)}
    if given:
        samples |= {name: rng.normal(size=(2, 5)).astype(np.float32) for name in ("h0", "c0")}
    captured = capture(path, samples, time_axis=0)
    assert operators(captured) == [f"LSTM:{'states' if given else 'zeros'}", "Unsqueeze", "Unsqueeze", "Unsqueeze"]
    feeds = captured.arrange(samples)
    found = FloatSession(captured.model).run(feeds)
    parameters = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    start = [samples[name] if given else np.zeros((2, 5)) for name in ("h0", "c0")]
    states, h, c = reference(parameters, feeds["x"], *start)
    np.testing.assert_allclose(found["y"], states[:, None], atol=1e-5)
    np.testing.assert_allclose(found["h"][0], h, atol=1e-5)
    np.testing.assert_allclose(found["c"][0], c, atol=1e-5)
    for name, array in open_engine("onnxruntime", onnx.load(path)).run(feeds).items():
        np.testing.assert_allclose(found[name], array, atol=1e-5)


def test_the_batch_first_layout_of_the_onnx_operator(rng, onnx_file):
    """onnxruntime has no such operator; the file is read with its layout turned."""
    path = written(rng, onnx_file, layout=1)
    x = rng.random((2, 6, 3)).astype(np.float32)
    captured = capture(path, {"x": x})
    assert captured.inputs[0].shape == ("batch", "time", 3)
    found = FloatSession(captured.model).run({"x": x})
    parameters = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    states, h, c = reference(parameters, x.swapaxes(0, 1), np.zeros((2, 5)), np.zeros((2, 5)))
    np.testing.assert_allclose(found["y"], states.swapaxes(0, 1)[:, :, None], atol=1e-5)
    np.testing.assert_allclose(found["h"][:, 0], h, atol=1e-5)
    np.testing.assert_allclose(found["c"][:, 0], c, atol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "arguments", "inputs", "directions", "words"),
    [
        (", clip = 3.0", "w, r, b", "", 1, "clip"),
        (", input_forget = 1", "w, r, b", "", 1, "input_forget=1"),
        (', activations = ["Sigmoid", "Tanh", "Relu"]', "w, r, b", "", 1, "activations .*'Relu'.* are not supported"),
        ("", "w, r, b, lengths", "", 1, r"sequence_lens \(lengths\)"),
        ("", "w, r, b, , , , peepholes", "", 1, "peepholes"),
        ("", "w, r2, b", ", float[1, 20, 5] r2", 1, "R is computed by the graph"),
        ("", "w, r, b, , h0", ", float[1, 2, 5] h0", 1, "initial_c is zero and the other"),
    ],
)
def test_onnx_operators_that_are_refused(rng, onnx_file, attributes, arguments, inputs, directions, words):
    samples = {"x": rng.random((2, 4, 3)).astype(np.float32)}
    if "r2" in arguments:
        inputs = inputs.replace("[1, 20", "[2, 20")
        samples["r2"] = rng.random((2, 20, 5)).astype(np.float32)
    if "h0" in arguments:
        samples["h0"] = rng.random((2, 1, 5)).astype(np.float32)
    path = written(rng, onnx_file, attributes=attributes, arguments=arguments, inputs=inputs, directions=directions)
    with pytest.raises(UnsupportedModelError, match=f"node .*{words}"):
        capture(path, samples, time_axis=0)
