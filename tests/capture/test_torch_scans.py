"""Cells that users write themselves and run with torch's scan: captured as layers, and exported as verified bundles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch._higher_order_ops.scan import scan

import qdeploy
from qdeploy.capture import capture
from qdeploy.runtime.errors import UnsupportedModelError

INPUTS, HIDDEN = 3, 5


def tanh_cell(model, h, x):
    h = torch.tanh(model.from_x(x) + model.from_h(h))
    return h, h.clone()


def gru_cell(model, h, x):
    x_r, x_z, x_n = model.from_x(x).chunk(3, 1)
    h_r, h_z, h_n = model.from_h(h).chunk(3, 1)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    h = n + z * (h - n)
    return h, h.clone()


def lstm_cell(model, states, x):
    h, c = states
    i, f, g, o = (model.from_x(x) + model.from_h(h)).view(-1, 4, HIDDEN).unbind(1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h, c), h.clone()


CELLS = {"RNN": (tanh_cell, 1, 1), "GRU": (gru_cell, 3, 1), "LSTM": (lstm_cell, 4, 2)}


class Recurrent(nn.Module):
    """A layer of the user's own around one of the cells, and a head on its last or on all of its states."""

    def __init__(self, kind, *, hoisted=False, sequence=False):
        super().__init__()
        self.cell, gates, self.states = CELLS[kind]
        self.from_x = nn.Linear(INPUTS, gates * HIDDEN)
        self.from_h = nn.Linear(HIDDEN, gates * HIDDEN, bias=kind != "LSTM")
        self.head = nn.Linear(HIDDEN, 4)
        self.hoisted, self.sequence = hoisted, sequence

    def forward(self, x):
        zero = x.new_zeros(x.shape[0], HIDDEN)
        start = zero if self.states == 1 else (zero, zero.clone())
        if self.hoisted:
            given = self.from_x(x).transpose(0, 1)
            step = Given(self)
        else:
            given, step = x.transpose(0, 1), self
        _, states = scan(lambda carry, x_t: self.cell(step, carry, x_t), start, given, dim=0)
        return self.head(states.transpose(0, 1)) if self.sequence else self.head(states[-1])


class Given:
    """The cell's products where that with the input is made before the loop."""

    def __init__(self, model):
        self.from_h = model.from_h
        self.from_x = lambda x: x


@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("hoisted", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_cells_of_users(rng, operators, run, kind, hoisted, sequence):
    module = Recurrent(kind, hoisted=hoisted, sequence=sequence).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS))})
    names = [name.split(":")[0] for name in operators(captured)]
    assert [name for name in names if name != "Transpose"] == [kind, "Linear"]
    assert captured.inputs[0].shape == ("batch", "time", INPUTS)
    x = rng.random((2, 21, INPUTS)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(run(captured, {"x": x})["output"], expected, atol=1e-5)


@pytest.mark.parametrize("kind", CELLS)
def test_their_bundles_are_verified(rng, tmp_path, kind):
    module = Recurrent(kind, sequence=True).eval()
    x = rng.normal(size=(6, 12, INPUTS)).astype(np.float32)
    bundle = qdeploy.export_model(module, tmp_path / "out", calibration=x)
    report = bundle.verify(samples=2)
    assert report.passed
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    found = next(iter(bundle.run(x).values()))
    assert np.max(np.abs(found - expected)) < 0.1 * np.ptp(expected)


def test_another_cell_is_refused_with_what_it_computes(rng):
    class Decaying(nn.Module):
        def __init__(self):
            super().__init__()
            self.from_x, self.from_h = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

        def forward(self, x):
            def step(h, x_t):
                h = torch.sigmoid(self.from_x(x_t)) * torch.relu(self.from_h(h))
                return h, h.clone()

            return scan(step, x.new_zeros(x.shape[0], HIDDEN), x.transpose(0, 1), dim=0)[0]

    words = (
        r"\(Scan\): state .*the step computes .*' = a1 a2, where a1 = Sigmoid of .*, a2 = Relu of .*no operator does"
    )
    with pytest.raises(UnsupportedModelError, match=words):
        capture(Decaying(), {"x": rng.random((3, 9, INPUTS))})
