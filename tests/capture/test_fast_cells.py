"""FastRNN and FastGRNN from torch: one node a layer that computes what torch does."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.capture import capture
from qdeploy.runtime.errors import UnsupportedModelError

torch = pytest.importorskip("torch")

from qdeploy.models import FastGRNN, FastRNN  # noqa: E402  # torch may be missing
from qdeploy.models.fast_rnn import NONLINEARITIES  # noqa: E402

INPUTS, HIDDEN = 5, 6


class Model(torch.nn.Module):
    """A layer whose every state and last state leave the network."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer

    def forward(self, x, h=None):
        return self.rnn(x, h)


def compared(module, captured, samples, run):
    """Both results are torch's."""
    expected = module(*(torch.from_numpy(spec.arrange(samples[spec.name])) for spec in captured.inputs))
    for array, wanted in zip(run(captured, samples).values(), expected, strict=True):
        np.testing.assert_allclose(array, wanted.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("ranks", [(None, None), (2, None), (None, 3), (2, 3)])
@pytest.mark.parametrize("kind", [FastRNN, FastGRNN])
def test_layers(rng, operators, run, kind, ranks, initial):
    """An input matrix of low rank is a Linear before the layer."""
    torch.manual_seed(0)
    module = Model(kind(INPUTS, HIDDEN, input_rank=ranks[0], recurrent_rank=ranks[1])).eval()
    samples = {"x": rng.normal(size=(5, 7, INPUTS)).astype(np.float32)}
    if initial:
        samples["h"] = rng.normal(size=(5, HIDDEN)).astype(np.float32)
    captured = capture(module, samples, time_axis=0)
    words = ["sigmoid"] * (kind is FastGRNN) + ["tanh"] + ["low"] * (ranks[1] is not None) + ["h0"] * initial
    before = ["Linear:no_bias"] if ranks[0] else []
    assert operators(captured) == [*before, f"{kind.__name__}:{'_'.join(words)}"]
    compared(module, captured, samples, run)


@pytest.mark.parametrize(
    ("gate", "activation"),
    [*((None, name) for name in NONLINEARITIES), *zip(NONLINEARITIES, reversed(NONLINEARITIES), strict=True)],
)
def test_nonlinearities(rng, run, gate, activation):
    torch.manual_seed(0)
    layer = FastRNN(INPUTS, HIDDEN, activation) if gate is None else FastGRNN(INPUTS, HIDDEN, gate, activation)
    with torch.no_grad():
        layer.bias_update.copy_(torch.linspace(-1.5, 1.5, HIDDEN)[None])
        if gate is not None:
            layer.bias_gate.copy_(torch.linspace(1.5, -1.5, HIDDEN)[None])
    samples = {"x": 2 * rng.normal(size=(4, 6, INPUTS)).astype(np.float32)}
    module = Model(layer).eval()
    compared(module, capture(module, samples, time_axis=0), samples, run)


def test_the_raw_numbers_pass_their_sigmoid_once(rng):
    layer = FastGRNN(INPUTS, HIDDEN)
    captured = capture(Model(layer).eval(), {"x": rng.normal(size=(2, 3, INPUTS)).astype(np.float32)}, time_axis=0)
    import onnx

    constants = {t.name: onnx.numpy_helper.to_array(t) for t in captured.model.graph.initializer}
    (node,) = captured.model.graph.node
    np.testing.assert_allclose(constants[node.input[4]], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(4))], rtol=1e-6)


class Cells(torch.nn.Module):
    """A loop of the user's own, as torch's scan writes it."""

    def __init__(self, layer, step):
        super().__init__()
        self.layer, self.of = layer, step

    def forward(self, x):
        from torch._higher_order_ops.scan import scan

        def combine(h, x_t):
            following = self.of(self.layer, x_t, h)
            return following, following.clone()

        start = x.new_zeros(x.shape[0], HIDDEN)
        last, _ = scan(combine, start, x.transpose(0, 1))
        return last


def fast_rnn_step(layer, x, h):
    fresh = torch.tanh(x @ layer.W + h @ layer.U + layer.bias_update)
    return h * torch.sigmoid(layer.beta) + torch.sigmoid(layer.alpha) * fresh


def fast_grnn_step(layer, x, h):
    shared = x @ layer.W + h @ layer.U
    z = torch.sigmoid(shared + layer.bias_gate)
    n = torch.tanh(shared + layer.bias_update)
    return z * h + (torch.sigmoid(layer.zeta) * (1.0 - z) + torch.sigmoid(layer.nu)) * n


def quantized_step(layer, x, h):
    """Piecewise linear, with the gate opened the other way round."""
    shared = h @ layer.U + x @ layer.W
    z = torch.clamp((shared + layer.bias_gate + 1) / 2, 0, 1)
    n = torch.clamp(shared + layer.bias_update, -1, 1)
    whole = torch.sigmoid(layer.zeta) + torch.sigmoid(layer.nu)
    return n * whole - (torch.sigmoid(layer.zeta) * n - h) * z


@pytest.mark.parametrize(
    ("make", "step", "words"),
    [
        (FastRNN, fast_rnn_step, "FastRNN:tanh"),
        (FastGRNN, fast_grnn_step, "FastGRNN:sigmoid_tanh"),
        (FastGRNN, quantized_step, "FastGRNN:quant_sigmoid_quant_tanh"),
    ],
)
def test_loops_of_others_are_the_layers(rng, operators, run, make, step, words):
    torch.manual_seed(0)
    module, samples = (
        Cells(make(INPUTS, HIDDEN), step).eval(),
        {"x": rng.normal(size=(4, 7, INPUTS)).astype(np.float32)},
    )
    captured = capture(module, samples)
    assert words in operators(captured)
    (found,) = run(captured, samples).values()
    h = torch.zeros(4, HIDDEN)
    for x_t in torch.from_numpy(samples["x"]).unbind(1):
        h = step(module.layer, x_t, h)
    np.testing.assert_allclose(found, h.detach().numpy(), atol=1e-5)


def other_matrices(layer, x, h):
    """The candidate has another recurrent matrix than the gate."""
    z = torch.sigmoid(x @ layer.W + h @ layer.U + layer.bias_gate)
    n = torch.tanh(x @ layer.W + h @ (2 * layer.U) + layer.bias_update)
    return z * h + (torch.sigmoid(layer.zeta) * (1.0 - z) + torch.sigmoid(layer.nu)) * n


def other_numbers(layer, x, h):
    """What is kept differs from unit to unit."""
    beta = torch.linspace(0.1, 0.9, HIDDEN)
    return beta * h + 0.1 * torch.tanh(x @ layer.W + h @ layer.U + layer.bias_update)


@pytest.mark.parametrize("step", [other_matrices, other_numbers])
def test_near_cells_are_refused(rng, step):
    with pytest.raises(UnsupportedModelError, match="FastGRNN"):
        capture(Cells(FastGRNN(INPUTS, HIDDEN), step).eval(), {"x": rng.normal(size=(4, 7, INPUTS)).astype(np.float32)})
