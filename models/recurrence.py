"""The loop of a simple recurrent layer over a whole sequence, as one differentiable function.

Autograd over a Python loop keeps a graph of some thousands of nodes and makes one small weight gradient a step. Here
the forward pass keeps the states, the backward pass walks back over them for the gradients of the pre-activations, and
the weight gradients are one product for every ``CHUNK`` steps, while these are still in the processor's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["ACTIVATIONS", "MODRELU_EPSILON", "activate", "recurrence"]

ACTIVATIONS = ("relu", "modrelu", "tanh", "linear")

# The authors' code adds it to |a|, where the phase a/|a| of the complex form would be undefined.
MODRELU_EPSILON = 1e-6

# Steps for each product of weight gradients: 16 steps of 128 sequences of 170 units are 1.4 MB of float32.
CHUNK = 16


def activate(values: Tensor, activation: str, modrelu_bias: Tensor | None = None) -> Tensor:
    """``activation`` of ``values`` [..., H]; modReLU is ``sgn(a) * relu(|a| + 1e-6 + b)`` with ``b`` [H]."""
    if activation == "relu":
        return torch.relu(values)
    if activation == "tanh":
        return torch.tanh(values)
    if activation == "modrelu":
        if modrelu_bias is None:
            raise ValueError("modrelu needs its bias [H], found None")
        return torch.sign(values) * torch.relu(values.abs() + MODRELU_EPSILON + modrelu_bias)
    return values


def _activate_in_place(state: Tensor, activation: str, modrelu_bias: Tensor | None) -> None:
    if activation == "relu":
        state.relu_()
    elif activation == "tanh":
        state.tanh_()
    elif activation == "modrelu":
        state.copy_(activate(state, activation, modrelu_bias))


def _to_pre_activation(gradient: Tensor, state: Tensor, activation: str) -> None:
    """Turns the gradient of a state into that of its pre-activation, in place, from the state alone."""
    if activation == "relu":
        torch.ops.aten.threshold_backward.grad_input(gradient, state, 0, grad_input=gradient)
    elif activation == "tanh":
        gradient.mul_(1.0 - state * state)
    elif activation == "modrelu":
        gradient.masked_fill_(state == 0, 0.0)


class _Recurrence(torch.autograd.Function):
    """``h_t = act(W h_{t-1} + U x_t + b)`` with its hand-written gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        initial: Tensor,
        weight: Tensor,
        input_weight: Tensor,
        bias: Tensor,
        modrelu_bias: Tensor | None,
        activation: str,
    ) -> tuple[Tensor, Tensor]:
        steps, batch, _ = inputs.shape
        states = weight.new_empty((steps + 1, batch, weight.shape[0]))
        states[0] = initial
        weight_transposed = weight.t().contiguous()
        input_transposed = input_weight.t().contiguous()
        previous = states[0]
        for x, state in zip(inputs.unbind(), states[1:].unbind(), strict=True):
            torch.addmm(bias, x, input_transposed, out=state)
            state.addmm_(previous, weight_transposed)
            _activate_in_place(state, activation, modrelu_bias)
            previous = state
        ctx.save_for_backward(inputs, states, weight, input_weight)
        ctx.activation = activation
        ctx.set_materialize_grads(False)
        return states[1:], states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, states, weight, input_weight = ctx.saved_tensors
        activation: str = ctx.activation
        of_states, of_last = gradients
        steps, batch, hidden = states.shape[0] - 1, states.shape[1], states.shape[2]
        # A frozen recurrent weight saves a third of the work.
        weight_gradient = torch.zeros_like(weight) if ctx.needs_input_grad[2] else None
        input_weight_gradient = torch.zeros_like(input_weight)
        bias_gradient = weight.new_zeros(hidden)
        modrelu_gradient = weight.new_zeros(hidden) if activation == "modrelu" else None
        inputs_gradient = torch.empty_like(inputs) if ctx.needs_input_grad[0] else None
        chunk = weight.new_empty((min(CHUNK, steps), batch, hidden))
        # The gradient of h_t that arrives from step t + 1; a buffer of its own, for the chunk is written over.
        carried = weight.new_zeros((batch, hidden)) if of_last is None else of_last.clone()
        for stop in range(steps, 0, -CHUNK):
            start = max(stop - CHUNK, 0)
            pre = chunk[: stop - start]
            for t in range(stop - 1, start - 1, -1):
                current = pre[t - start]
                if of_states is None:
                    current.copy_(carried)
                else:
                    torch.add(carried, of_states[t], out=current)
                _to_pre_activation(current, states[t + 1], activation)
                torch.mm(current, weight, out=carried)
            rows = pre.view(-1, hidden)
            if weight_gradient is not None:
                weight_gradient.addmm_(rows.t(), states[start:stop].reshape(-1, hidden))
            input_weight_gradient.addmm_(rows.t(), inputs[start:stop].reshape(rows.shape[0], -1))
            bias_gradient += rows.sum(dim=0)
            if modrelu_gradient is not None:
                # d h / d b = sgn(a) where the unit is active, and there sgn(a) = sgn(h).
                modrelu_gradient += (pre * torch.sign(states[start + 1 : stop + 1])).sum(dim=(0, 1))
            if inputs_gradient is not None:
                inputs_gradient[start:stop] = pre @ input_weight
        return (
            inputs_gradient,
            carried,
            weight_gradient,
            input_weight_gradient,
            bias_gradient,
            modrelu_gradient,
            None,
        )


def recurrence(
    inputs: Tensor,
    initial: Tensor,
    weight: Tensor,
    input_weight: Tensor,
    bias: Tensor,
    activation: str,
    modrelu_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """All states of ``h_t = act(W h_{t-1} + U x_t + b)``, and the last one by itself.

    A loss on the last state alone should take the second result: then no gradient of [T, B, H] is made.

    Args:
        inputs: ``x`` [T, B, I], T >= 1.
        initial: ``h_0`` [B, H].
        weight: ``W`` [H, H].
        input_weight: ``U`` [H, I].
        bias: ``b`` [H].
        activation: one of ``ACTIVATIONS``.
        modrelu_bias: [H], for modReLU alone.

    Returns:
        ``h_1 ... h_T`` [T, B, H] and ``h_T`` [B, H], differentiable once in every float argument.
    """
    result: tuple[Tensor, Tensor] = _Recurrence.apply(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        inputs, initial, weight, input_weight, bias, modrelu_bias, activation
    )
    return result
