"""LiGRU from torch: one node a layer that computes what torch does."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.capture import capture
from qdeploy.runtime.errors import UnsupportedModelError

torch = pytest.importorskip("torch")

from qdeploy.models import LiGRU, QuaternionLiGRU  # noqa: E402  # torch may be missing

LAYERS = {
    "relu": (lambda: LiGRU(8, 12), [], "rectifier", 0.0),
    "leaky-relu": (lambda: LiGRU(8, 12, "leaky-relu", 0.25), [], "rectifier", 0.25),
    "tanh": (lambda: LiGRU(8, 12, "tanh"), [], "tanh", 0.0),
    "quaternion": (lambda: QuaternionLiGRU(8, 12), ["HamiltonMatrix:blocked", "GateRows"] * 2, "rectifier", 0.01),
    "quaternion-per-part": (
        lambda: QuaternionLiGRU(8, 12, "relu", gate_layout="per-part"),
        ["HamiltonMatrix:blocked"] * 2,
        "rectifier",
        0.0,
    ),
}


class Model(torch.nn.Module):
    """A layer whose every state and last state leave the network."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer

    def forward(self, x, h=None):
        return self.rnn(x, h)


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(rng, operators, run, name, initial):
    make, before, candidate, slope = LAYERS[name]
    torch.manual_seed(0)
    module, samples = Model(make()).eval(), {"x": rng.normal(size=(5, 7, 8)).astype(np.float32)}
    if initial:
        samples["h"] = rng.normal(size=(5, 12)).astype(np.float32)
    captured = capture(module, samples, time_axis=0)
    assert operators(captured) == [*before, f"LiGRU:{candidate}" + "_h0" * initial]
    found = {a.name: a.f or a.s.decode() for a in captured.model.graph.node[-1].attribute}
    assert found["candidate"] == candidate
    assert float(found["slope"] or 0) == pytest.approx(slope)
    expected = module(*(torch.from_numpy(spec.arrange(samples[spec.name])) for spec in captured.inputs))
    for array, wanted in zip(run(captured, samples).values(), expected, strict=True):
        np.testing.assert_allclose(array, wanted.detach().numpy(), atol=1e-5)


def test_two_layers_have_biases_of_their_own(rng, operators, run):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = LiGRU(3, 6), LiGRU(6, 6)

        def forward(self, x):
            return self.second(self.first(x.transpose(0, 1))[0])[1]

    module, samples = Two().eval(), {"x": rng.random((4, 9, 3)).astype(np.float32)}
    captured = capture(module, samples)
    assert operators(captured) == ["Transpose", "LiGRU:rectifier", "LiGRU:rectifier"]
    first, second = captured.model.graph.node[1:]
    assert first.input[3] != second.input[3]
    expected = module(torch.from_numpy(samples["x"])).detach().numpy()
    np.testing.assert_allclose(run(captured, samples)["output"], expected, atol=1e-5)


def test_hooks_are_refused(rng):
    layer = LiGRU(3, 6)
    layer.register_forward_hook(lambda module, args, result: result)
    with pytest.raises(UnsupportedModelError, match="found forward hooks"):
        capture(Model(layer), {"x": rng.random((4, 9, 3)).astype(np.float32)}, time_axis=0)
