"""Quaternion recurrent layers against their equations, written out with Hamilton products of single quaternions."""

from __future__ import annotations

import pytest
import torch

from qdeploy.models import QuaternionGRU, QuaternionLSTM, QuaternionRNN
from qdeploy.models.quaternion_recurrent import order_gate_rows
from qdeploy.runtime.errors import InvalidInputError

INPUTS, H, T, B = 8, 12, 5, 3
N = H // 4


def hamilton(components, values):
    """Quaternions w (x) x summed over the inputs: components [n, m] each, values [B, 4 m], result [B, 4 n]."""
    r, i, j, k = components
    a, b, c, d = values.chunk(4, dim=1)
    return torch.cat(
        [
            a @ r.t() - b @ i.t() - c @ j.t() - d @ k.t(),
            a @ i.t() + b @ r.t() - c @ k.t() + d @ j.t(),
            a @ j.t() + b @ k.t() + c @ r.t() - d @ i.t(),
            a @ k.t() - b @ j.t() + c @ i.t() + d @ r.t(),
        ],
        dim=1,
    )


def gate_of(components, gate):
    return [component[gate * N : (gate + 1) * N] for component in components]


def filled(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    return layer.double()


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn(activation):
    layer = filled(QuaternionRNN(INPUTS, H, activation))
    x, h = drawn(T, B, INPUTS), drawn(B, H, seed=2)
    states, last = layer(x, h)
    for t in range(T):
        total = hamilton(layer.recurrent_components(), h) + hamilton(layer.input_components(), x[t]) + layer.bias
        h = torch.tanh(total) if activation == "tanh" else torch.relu(total)
        torch.testing.assert_close(states[t], h)
    assert torch.equal(last, states[-1])


def gates_of(layer, x, h):
    """The pre-activations of all gates, per gate a product of its own: U x and W h apart."""
    driven, recalled = [], []
    for gate in range(layer.gates):
        driven.append(hamilton(gate_of(layer.input_components(), gate), x) + layer.bias[gate * H : (gate + 1) * H])
        recalled.append(hamilton(gate_of(layer.recurrent_components(), gate), h))
    return driven, recalled


def test_lstm():
    layer = filled(QuaternionLSTM(INPUTS, H))
    x, h, c = drawn(T, B, INPUTS), drawn(B, H, seed=2), drawn(B, H, seed=3)
    states, (last, cell) = layer(x, (h, c))
    for t in range(T):
        driven, recalled = gates_of(layer, x[t], h)
        i, f, g, o = (u + w for u, w in zip(driven, recalled, strict=True))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        torch.testing.assert_close(states[t], h)
    assert torch.equal(last, states[-1])
    torch.testing.assert_close(cell, c)


def test_lstm_with_a_gate_a_part():
    layer = filled(QuaternionLSTM(INPUTS, H, gate_layout="per-part"))
    x, h, c = drawn(T, B, INPUTS), drawn(B, H, seed=2), drawn(B, H, seed=3)
    states, (_, cell) = layer(x, (h, c))
    b_i, b_f, b_g, b_o = layer.bias.chunk(4)
    for t in range(T):
        total = hamilton(layer.recurrent_components(), h) + hamilton(layer.input_components(), x[t])
        i, f, o, g = total.chunk(4, dim=1)
        c = torch.sigmoid(f + b_f) * c + torch.sigmoid(i + b_i) * torch.tanh(g + b_g)
        h = torch.sigmoid(o + b_o) * torch.tanh(c)
        torch.testing.assert_close(states[t], h)
    torch.testing.assert_close(cell, c)


def test_gru():
    layer = filled(QuaternionGRU(INPUTS, H))
    x, h = drawn(T, B, INPUTS), drawn(B, H, seed=2)
    states, last = layer(x, h)
    for t in range(T):
        driven, recalled = gates_of(layer, x[t], h)
        r, z = (torch.sigmoid(driven[gate] + recalled[gate]) for gate in (0, 1))
        n = torch.tanh(driven[2] + r * (recalled[2] + layer.recurrent_bias))
        h = (1 - z) * n + z * h
        torch.testing.assert_close(states[t], h)
    assert torch.equal(last, states[-1])


@pytest.mark.parametrize("kind", [QuaternionRNN, QuaternionGRU, QuaternionLSTM])
def test_starts_from_zero_and_learns(kind):
    torch.manual_seed(0)
    layer = kind(INPUTS, H)
    x = drawn(T, B, INPUTS).float().requires_grad_()
    states, last = layer(x)
    zeros = torch.zeros(B, H)
    again, _ = layer(x, (zeros, zeros) if kind is QuaternionLSTM else zeros)
    assert torch.equal(states, again)
    states.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
    assert x.grad.abs().sum() > 0
    assert sum(p.numel() for p in layer.parameters() if p.dim() == 2) == layer.gates * H * (INPUTS + H) // 4
    del last


@pytest.mark.parametrize("kind", [QuaternionRNN, QuaternionGRU, QuaternionLSTM])
def test_initial_weights_have_the_modulus_of_glorot(kind):
    torch.manual_seed(0)
    layer = kind(160, 240)
    for components, inputs in ((layer.input_components(), 40), (layer.recurrent_components(), 60)):
        # E |w|^2 = 4 s^2 = 2 / (n_in + n_out).
        square = sum(component.detach().square() for component in components).mean()
        assert float(square) == pytest.approx(2.0 / (inputs + 60), rel=0.05)


def test_rows_by_part_become_rows_by_gate():
    rows = torch.tensor([10 * part + gate for part in range(4) for gate in range(3) for _ in range(2)])[:, None]
    by_gate = order_gate_rows(rows, 4, (0, 1, 2))[:, 0].tolist()
    assert by_gate == [10 * part + gate for gate in range(3) for part in range(4) for _ in range(2)]
    assert order_gate_rows(torch.arange(4)[:, None], 1, (0, 1, 3, 2))[:, 0].tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuaternionLSTM(6, 8), "input_size=6"),
        (lambda: QuaternionGRU(8, 0), "hidden_size=0"),
        (lambda: QuaternionRNN(8, 8, "modrelu"), "activation='modrelu'"),
        (lambda: QuaternionLSTM(8, 8, "parts"), "gate_layout='parts'"),
        (lambda: QuaternionLSTM(8, 8)(torch.zeros(0, 1, 8)), r"found inputs \[0, 1, 8\]"),
        (lambda: QuaternionRNN(8, 8)(torch.zeros(2, 8)), r"found inputs \[2, 8\]"),
        (lambda: QuaternionGRU(8, 8)(torch.zeros(2, 3, 8), torch.zeros(2, 8)), r"initial state \[2, 8\]"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
