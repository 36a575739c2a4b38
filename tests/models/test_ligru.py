"""LiGRU, real and quaternion, against its equations."""

from __future__ import annotations

import pytest
import torch

from qdeploy.models import LiGRU, QuaternionLiGRU
from qdeploy.models.ligru import LIGRU_ACTIVATIONS
from qdeploy.runtime.errors import InvalidInputError

from .test_quaternion_recurrent import INPUTS, B, H, T, drawn, filled, gates_of, hamilton


def activated(values, layer):
    if layer.activation == "tanh":
        return torch.tanh(values)
    return torch.where(values > 0, values, values * (layer.slope if layer.activation == "leaky-relu" else 0.0))


@pytest.mark.parametrize("activation", LIGRU_ACTIVATIONS)
def test_real(activation):
    layer = filled(LiGRU(INPUTS, H, activation, 0.2))
    x, h = drawn(T, B, INPUTS), drawn(B, H, seed=2)
    states, last = layer(x, h)
    for t in range(T):
        a, z = (x[t] @ layer.input_weight.t() + h @ layer.recurrent_weight.t() + layer.bias).chunk(2, dim=1)
        z = torch.sigmoid(z)
        h = z * h + (1 - z) * activated(a, layer)
        torch.testing.assert_close(states[t], h)
    assert torch.equal(last, states[-1])


@pytest.mark.parametrize("activation", LIGRU_ACTIVATIONS)
def test_quaternion(activation):
    layer = filled(QuaternionLiGRU(INPUTS, H, activation, 0.2))
    x, h = drawn(T, B, INPUTS), drawn(B, H, seed=2)
    states, last = layer(x, h)
    for t in range(T):
        driven, recalled = gates_of(layer, x[t], h)
        a, z = (u + w for u, w in zip(driven, recalled, strict=True))
        z = torch.sigmoid(z)
        h = z * h + (1 - z) * activated(a, layer)
        torch.testing.assert_close(states[t], h)
    assert torch.equal(last, states[-1])


def test_quaternion_with_two_parts_a_gate():
    layer = filled(QuaternionLiGRU(INPUTS, H, gate_layout="per-part"))
    x, h = drawn(T, B, INPUTS), drawn(B, H, seed=2)
    states, _ = layer(x, h)
    for t in range(T):
        total = hamilton(layer.recurrent_components(), h) + hamilton(layer.input_components(), x[t])
        # r and i parts are the candidate, j and k parts the gate.
        a, z = (total + layer.bias).chunk(2, dim=1)
        z = torch.sigmoid(z)
        h = z * h + (1 - z) * activated(a, layer)
        torch.testing.assert_close(states[t], h)


@pytest.mark.parametrize("make", [lambda: LiGRU(INPUTS, H), lambda: QuaternionLiGRU(INPUTS, H)])
def test_starts_from_zero_and_learns(make):
    torch.manual_seed(0)
    layer, x = make(), drawn(T, B, INPUTS).float()
    states, _ = layer(x)
    assert torch.equal(states, layer(x, torch.zeros(B, H))[0])
    states.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LiGRU(0, 8), "input_size=0"),
        (lambda: LiGRU(3, 8, "gelu"), "activation='gelu'"),
        (lambda: LiGRU(3, 8, "leaky-relu", 1.0), "slope=1.0"),
        (lambda: QuaternionLiGRU(8, 6), "hidden_size=6"),
        (lambda: QuaternionLiGRU(8, 8, gate_layout="parts"), "gate_layout='parts'"),
        (lambda: LiGRU(3, 8)(torch.zeros(0, 1, 3)), r"found inputs \[0, 1, 3\]"),
        (lambda: QuaternionLiGRU(8, 8)(torch.zeros(2, 3, 8), torch.zeros(2, 8)), r"initial state \[2, 8\]"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
