"""GRU from torch and from ONNX: one node a layer, the module's results, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.capture import FloatSession, capture
from qdeploy.runtime.errors import UnsupportedModelError


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_layers_of_torch(rng, run, operators, bias, batch_first):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(3, 6, 2, bias=bias, batch_first=batch_first, dropout=0.5)
            self.out = torch.nn.Linear(self.gru.hidden_size, 4)

        def forward(self, x):
            states, last = self.gru(x)
            return self.out(states) + self.out(last[-1]).unsqueeze(1 if batch_first else 0)

    torch.manual_seed(0)
    module = Model()
    captured = capture(module, {"x": rng.random((4, 8, 3))}, time_axis=1 if batch_first else 0)
    assert operators(captured).count("GRU:reset_after") == 2
    assert captured.inputs[0].shape == (("batch", "time", 3) if batch_first else ("time", "batch", 3))
    samples = rng.random((3, 12, 3)).astype(np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(samples if batch_first else samples.swapaxes(0, 1).copy()))
    np.testing.assert_allclose(run(captured, {"x": samples})[captured.outputs[0]], expected.numpy(), atol=1e-5)
    # Each layer has weights of its own, although the biases are zero where the module has none.
    biases = [node.input[index] for node in captured.model.graph.node if node.op_type == "GRU" for index in (3, 4)]
    assert len(set(biases)) == 4


@pytest.mark.parametrize("state", ["zeros", "input"])
def test_initial_states(rng, operators, run, state):
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(3, 6)

        def forward(self, x, h=None):
            start = x.new_zeros(1, x.shape[1], 6) if h is None else h.unsqueeze(0)
            return self.gru(x, start)[1].squeeze(0)

    samples = {"x": rng.random((4, 8, 3)).astype(np.float32)}
    if state == "input":
        samples["h"] = rng.random((4, 6)).astype(np.float32)
    module = Model()
    captured = capture(module, samples, time_axis=0)
    assert operators(captured) == ["GRU:reset_after" if state == "zeros" else "GRU:reset_after_h0"]
    expected = module(*(torch.from_numpy(spec.arrange(samples[spec.name])) for spec in captured.inputs))
    np.testing.assert_allclose(run(captured, samples)["output"], expected.detach().numpy(), atol=1e-5)


def test_a_last_state_is_read_where_it_is_made(rng):
    torch = pytest.importorskip("torch")

    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.GRU(2, 4, batch_first=True)

        def forward(self, x):
            return self.layer(x)[0][:, -1]

    gru = capture(Last(), {"x": rng.random((2, 5, 2))}).model.graph.node[-1]
    assert (gru.op_type, gru.name, gru.output[1]) == ("GRU", "layer", "output")


def test_an_input_of_another_rank_is_refused(rng):
    torch = pytest.importorskip("torch")
    with pytest.raises(UnsupportedModelError, match=r"layer gru \(torch.nn.GRU\): found an input of rank 2"):
        capture(torch.nn.GRU(3, 4), {"x": rng.random((5, 3))})


GRU = """
    <ir_version: 8, opset_import: ["": {opset}]>
    gru (float[T, 2, 3] x{inputs}) => (float[T, {directions}, 2, 5] y, float[{directions}, 2, 5] last) {{
        y, last = GRU <hidden_size = 5{attributes}> (x, {arguments})
    }}"""


def weights_of(rng, directions=1):
    return {
        "w": rng.normal(size=(directions, 15, 3)).astype(np.float32),
        "r": rng.normal(size=(directions, 15, 5)).astype(np.float32),
        "b": rng.normal(size=(directions, 30)).astype(np.float32),
        "lengths": np.array([1, 1], np.int32),
    }


def definition(x, w, r, b, *, before=False):
    """ONNX's GRU with linear_before_reset = 1, or 0 (``before``), gate by gate: every state ``[T, B, H]``."""
    wz, wr, wh = np.split(w[0].astype(np.float64), 3)
    rz, rr, rh = np.split(r[0].astype(np.float64), 3)
    wbz, wbr, wbh, rbz, rbr, rbh = np.split(b[0].astype(np.float64), 6)
    held, states = np.zeros((x.shape[1], 5)), []
    for given in x.astype(np.float64):
        z = 1 / (1 + np.exp(-(given @ wz.T + held @ rz.T + wbz + rbz)))
        reset = 1 / (1 + np.exp(-(given @ wr.T + held @ rr.T + wbr + rbr)))
        recalled = (reset * held) @ rh.T + rbh if before else reset * (held @ rh.T + rbh)
        candidate = np.tanh(given @ wh.T + recalled + wbh)
        held = (1 - z) * candidate + z * held
        states.append(held)
    return np.stack(states)


@pytest.mark.parametrize("opset", [14, 17, 21])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_the_gru_operator(rng, onnx_file, operators, before, biased, opset):
    weights = weights_of(rng)
    del weights["lengths"]
    if not biased:
        del weights["b"]
    # The operator's default is the gate before the product.
    attributes = "" if before else ", linear_before_reset = 1"
    text = GRU.format(opset=opset, inputs="", directions=1, attributes=attributes, arguments=", ".join(weights))
    captured = capture(onnx_file(text, weights), {"x": rng.random((4, 6, 3))}, time_axis=0)
    layer = "GRUResetBefore:reset_before" if before else "GRU:reset_after"
    assert operators(captured) == [layer, "Unsqueeze", "Unsqueeze"]
    x = rng.normal(size=(9, 3, 3)).astype(np.float32)
    results = FloatSession(captured.model).run({"x": x})
    expected = definition(x, weights["w"], weights["r"], weights.get("b", np.zeros((1, 30), np.float32)), before=before)
    np.testing.assert_allclose(results["y"][:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(results["last"][0], expected[-1], atol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "arguments", "directions", "words"),
    [
        (", linear_before_reset = 1, clip = 3.0", "w, r, b", 1, "clip"),
        (', linear_before_reset = 1, activations = ["Sigmoid", "Relu"]', "w, r, b", 1, "activations"),
        (", linear_before_reset = 1", "w, r, b, lengths", 1, r"sequence_lens \(lengths\)"),
    ],
)
def test_gru_operators_that_are_refused(rng, onnx_file, attributes, arguments, directions, words):
    text = GRU.format(opset=17, inputs="", directions=directions, attributes=attributes, arguments=arguments)
    with pytest.raises(UnsupportedModelError, match=f"node .*{words}"):
        capture(onnx_file(text, weights_of(rng, directions)), {"x": rng.random((2, 4, 3))}, time_axis=0)


def test_weights_that_the_graph_computes_are_refused(rng, onnx_file):
    text = GRU.format(
        opset=17,
        inputs=", float[2, 15, 5] r2",
        directions=1,
        attributes=", linear_before_reset = 1",
        arguments="w, r2, b",
    )
    samples = {"x": rng.random((2, 4, 3)), "r2": rng.random((2, 15, 5))}
    with pytest.raises(UnsupportedModelError, match=r"node .*R is computed by the graph"):
        capture(onnx_file(text, weights_of(rng)), samples, time_axis=0)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("state", ["zeros", "input"])
def test_a_captured_file_is_captured_again(rng, onnx_file, operators, tmp_path, state, before):
    """The float function is expanded to the standard operator, which folds and is recognised."""
    weights = weights_of(rng)
    del weights["lengths"]
    samples = {"x": rng.random((2, 6, 3)).astype(np.float32)}
    given = state == "input"
    text = GRU.format(
        opset=17,
        inputs=", float[2, 5] h" if given else "",
        directions=1,
        attributes=f", linear_before_reset = {int(not before)}",
        arguments="w, r, b, , initial" if given else "w, r, b",
    )
    if given:
        samples["h"] = rng.random((2, 5)).astype(np.float32)
        nodes = "axes = Constant <value_ints = [0]> () initial = Unsqueeze (h, axes) y, last = GRU"
        text = text.replace("y, last = GRU", nodes)
    first = capture(onnx_file(text, weights), samples, time_axis=0)
    path = tmp_path / "again.onnx"
    path.write_bytes(first.model.SerializeToString())
    second = capture(path, samples, time_axis=0)
    overload = ("GRUResetBefore:reset_before" if before else "GRU:reset_after") + ("_h0" if given else "")
    assert operators(second).count(overload) == operators(first).count(overload) == 1
    feeds = first.arrange(samples)
    found, expected = (FloatSession(one.model).run(feeds) for one in (second, first))
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
