"""Cells that are called once a step of a Python loop: the unrolled steps become layers over the whole sequence again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import qdeploy
from qdeploy.capture import capture
from qdeploy.runtime.errors import UnsupportedModelError

INPUTS, HIDDEN = 3, 5
CELLS = {"RNN": nn.RNNCell, "GRU": nn.GRUCell, "LSTM": nn.LSTMCell}


class Looped(nn.Module):
    """Two cells in one loop, and what is given of them."""

    def __init__(self, kind, give, *, bias=True, steps="index", time_axis=1, zeros=True):
        super().__init__()
        self.first = CELLS[kind](INPUTS, HIDDEN, bias=bias)
        self.second = nn.GRUCell(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, 4)
        self.kind, self.give, self.steps, self.axis, self.zeros = kind, give, steps, time_axis, zeros

    def over(self, x):
        if self.steps == "index":
            return [x[:, t] if self.axis == 1 else x[t] for t in range(x.shape[self.axis])]
        if self.steps == "unbind":
            return x.unbind(self.axis)
        if self.steps == "chunk":
            return [part.squeeze(self.axis) for part in x.split(1, self.axis)]
        return [x[:, t : t + 1].flatten(1) for t in range(x.shape[1])]

    def forward(self, x):
        samples = x.shape[1 - self.axis]
        h = x.new_zeros(samples, HIDDEN) if self.zeros else None
        states = (h, h) if self.kind == "LSTM" and self.zeros else h
        second = None
        shown, behind, heads = [], [], []
        for x_t in self.over(x):
            states = self.first(x_t, states)
            h = states[0] if self.kind == "LSTM" else states
            second = self.second(h, second)
            shown.append(h)
            behind.append(second)
            heads.append(torch.relu(self.head(h)))
        return {
            "last": lambda: self.head(shown[-1]),
            "stack": lambda: self.head(torch.stack(shown, self.axis)),
            "cat": lambda: self.head(torch.cat([one.unsqueeze(self.axis) for one in shown], self.axis)),
            "heads": lambda: torch.stack(heads, self.axis),
            "second": lambda: self.head(second),
            "both": lambda: (torch.stack(behind, self.axis), h),
        }[self.give]()


def check(captured, module, run, rng, steps=(21, 4)):
    """At other numbers of steps than were traced."""
    for count in steps:
        x = rng.random((2, count, INPUTS)).astype(np.float32)
        given = torch.from_numpy(x if captured.time_axis == 1 else x.transpose(1, 0, 2).copy())
        with torch.no_grad():
            expected = module(given)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for name, value in zip(captured.outputs, expected, strict=True):
            np.testing.assert_allclose(run(captured, {"x": x})[name], value.numpy(), atol=1e-5)


def layers(captured):
    return [(node.op_type, node.name) for node in captured.model.graph.node if node.domain]


@pytest.mark.parametrize(
    ("kind", "give"),
    [("RNN", "last"), ("RNN", "heads"), ("GRU", "stack"), ("GRU", "cat"), ("LSTM", "last"), ("LSTM", "heads")],
)
def test_one_cell(rng, run, kind, give):
    module = Looped(kind, give).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS))})
    assert layers(captured)[0] == (kind, "first")
    assert [kind for kind, _ in layers(captured)[1:]] == ["Linear"]
    assert captured.inputs[0].shape == ("batch", "time", INPUTS)
    check(captured, module, run, rng)


@pytest.mark.parametrize(("kind", "give"), [("RNN", "second"), ("LSTM", "both")])
def test_two_cells_in_one_loop(rng, run, kind, give):
    module = Looped(kind, give).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS))})
    assert layers(captured)[:2] == [(kind, "first"), ("GRU", "second")]
    check(captured, module, run, rng)


@pytest.mark.parametrize(("steps", "bias"), [("unbind", True), ("chunk", False), ("slice", True)])
def test_ways_to_take_a_step(rng, run, steps, bias):
    module = Looped("GRU", "stack", steps=steps, bias=bias, zeros=False).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS))})
    assert layers(captured) == [("GRU", "first"), ("Linear", "head")]
    check(captured, module, run, rng)


@pytest.mark.parametrize("give", ["last", "stack"])
def test_sequences_that_begin_with_the_time(rng, run, operators, give):
    module = Looped("LSTM", give, time_axis=0).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS))}, time_axis=0)
    assert operators(captured) == ["LSTM:zeros", "Linear:bias"]
    assert captured.inputs[0].shape == ("time", "batch", INPUTS)
    check(captured, module, run, rng)


@pytest.mark.parametrize("length", [1, 60])
def test_the_samples_length_does_not_matter(rng, run, length):
    module = Looped("GRU", "last").eval()
    captured = capture(module, {"x": rng.random((3, length, INPUTS))})
    assert captured.inputs[0].shape == ("batch", "time", INPUTS)
    check(captured, module, run, rng)


class Own(nn.Module):
    """A cell of the user's own, written with Linear layers, in a module of its own."""

    def __init__(self):
        super().__init__()
        self.gates, self.of_x, self.of_h = (nn.Linear(INPUTS + HIDDEN, 2 * HIDDEN), nn.Linear(INPUTS, HIDDEN), None)
        self.of_h = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x, h):
        r, z = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        n = torch.tanh(self.of_x(x) + r * self.of_h(h))
        return (1 - z) * h + z * n


class Around(nn.Module):
    def __init__(self, cell, step):
        super().__init__()
        self.cell, self.step = cell, step
        self.other = nn.GRUCell(HIDDEN, HIDDEN)
        self.again = nn.RNNCell(INPUTS, HIDDEN)
        self.skip = nn.Linear(INPUTS, HIDDEN)
        self.cells = nn.ModuleList([nn.RNNCell(INPUTS, HIDDEN) for _ in range(12)])

    def forward(self, x, h0=None):
        return self.step(self, x, x.new_zeros(x.shape[0], HIDDEN) if h0 is None else h0)


def plain(model, x, h):
    for t in range(x.shape[1]):
        h = model.cell(x[:, t], h)
    return h


def test_a_cell_of_the_users_own(rng, run, operators):
    module = Around(Own(), plain).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS))})
    assert operators(captured) == ["Transpose", "GRU:reset_after"]
    check(captured, module, run, rng)


def test_a_given_initial_state(rng, operators):
    module = Around(nn.GRUCell(INPUTS, HIDDEN), plain).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS)), "h0": rng.random((3, HIDDEN))})
    assert operators(captured) == ["Transpose", "GRU:reset_after_h0"]


def two_loops(model, x, h):
    """The second loop reads the sequence again, from where the first one ended."""
    h = plain(model, x, h)
    for t in range(x.shape[1]):
        h = model.again(x[:, t], h)
    return h


def loop_over_stacked_states(model, x, h):
    shown = []
    for t in range(x.shape[1]):
        h = model.cell(x[:, t], h)
        shown.append(h)
    stacked = torch.stack(shown, 1)
    for t in range(x.shape[1]):
        h = model.other(stacked[:, t], h)
    return h


def loop_over_states(model, x, h):
    """The second loop runs over what the first one gave, from where it ended."""
    shown = []
    for t in range(x.shape[1]):
        h = model.cell(x[:, t], h)
        shown.append(h)
    for one in shown:
        h = model.other(one, h)
    return h


def skipping(model, x, h):
    """The last step of the input is read outside of the loop as well."""
    return plain(model, x, h) + model.skip(x[:, -1])


def backwards(model, x, h):
    """From the last step to the first, and what was given stands where it was read."""
    shown = [h] * x.shape[1]
    for t in reversed(range(x.shape[1])):
        h = model.cell(x[:, t], h)
        shown[t] = h
    return torch.stack(shown, 1)


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (two_loops, ["cell", "again"]),
        (skipping, ["cell", "skip"]),
        (loop_over_stacked_states, ["cell", "other"]),
        (backwards, ["cell"]),
    ],
)
def test_loops_with_more_around_them(rng, run, step, names):
    module = Around(nn.GRUCell(INPUTS, HIDDEN), step).eval()
    captured = capture(module, {"x": rng.random((3, 9, INPUTS))})
    assert [name for _, name in layers(captured)] == names
    check(captured, module, run, rng)


def fed_back(model, x, h):
    shown = x[:, 0]
    for t in range(x.shape[1]):
        h = model.cell(shown + x[:, t], h)
        shown = h[:, :INPUTS]
    return h


def dependent_on_t(model, x, h):
    for t in range(x.shape[1]):
        h = model.cell(x[:, t] * (t + 2.0), h)
    return h


def varying(model, x, h):
    for t in range(x.shape[1]):
        h = model.cells[t](x[:, t], h)
    return h


def one_step_alone(model, x, h):
    kept = []
    for t in range(x.shape[1]):
        h = model.cell(x[:, t], h)
        kept.append(h)
    return kept[-1] + kept[2]


def another_first_step(model, x, h):
    h = torch.relu(model.skip(x[:, 0]))
    for t in range(1, x.shape[1]):
        h = model.cell(x[:, t], h)
    return h


def skipped_steps(model, x, h):
    shown = []
    for t in range(x.shape[1]):
        h = model.cell(x[:, t // 2], h)
        shown.append(h)
    return torch.stack(shown, 1)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (fed_back, r"step 0 computes node select \(Gather\) where step 1 computes node .* \(Slice\)"),
        (dependent_on_t, r"step 1 reads another constant \(3.0\)"),
        (varying, "found a Python loop"),
        (loop_over_states, "found a Python loop.*a second loop reads every state of a first one"),
        (one_step_alone, "found a Python loop"),
        (another_first_step, "found a Python loop"),
        (skipped_steps, "found a Python loop.*no sequence is read step by step"),
    ],
)
def test_loops_that_are_refused(rng, step, words):
    module = Around(nn.GRUCell(INPUTS, HIDDEN), step).eval()
    with pytest.raises(UnsupportedModelError, match=words):
        capture(module, {"x": rng.random((3, 12, INPUTS))})


@pytest.mark.parametrize("kind", CELLS)
def test_their_bundles_are_verified(rng, tmp_path, kind):
    module = Looped(kind, "heads").eval()
    x = rng.normal(size=(6, 12, INPUTS)).astype(np.float32)
    bundle = qdeploy.export_model(module, tmp_path / "out", calibration=x)
    assert bundle.verify(samples=2).passed
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    assert np.max(np.abs(next(iter(bundle.run(x).values())) - expected)) < 0.1 * np.ptp(expected)
