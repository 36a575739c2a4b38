"""FastRNN: a recurrent layer with a weighted residual connection.

Source: Kusupati, Singh, Bhatia, Kumar, Jain, Varma, "FastGRNN", NeurIPS 2018. Parameters have the names and the layout of the
authors' code (EdgeML); ``importers.edgeml`` reads what that saves, in its other layouts too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["NONLINEARITIES", "FastRNN", "nonlinear"]

NONLINEARITIES = ("sigmoid", "tanh", "relu", "quant_sigmoid", "quant_tanh")


def nonlinear(values: Tensor, name: str) -> Tensor:
    """``sigmoid``, ``tanh``, ``relu``, ``quant_sigmoid`` clip((x+1)/2, 0, 1) or ``quant_tanh`` clip(x, -1, 1)."""
    if name == "sigmoid":
        return torch.sigmoid(values)
    if name == "tanh":
        return torch.tanh(values)
    if name == "relu":
        return torch.relu(values)
    if name == "quant_sigmoid":
        return torch.clamp((values + 1) / 2, 0, 1)
    return torch.clamp(values, -1, 1)


class FastLayer(nn.Module):
    """What FastRNN and FastGRNN share: x W + h U, both in full or of low rank.

    Parameters: ``W`` [I, H] or ``W1`` [I, r], ``W2`` [r, H]; ``U`` [H, H] or ``U1`` [H, r], ``U2`` [r, H].
    """

    def __init__(self, input_size: int, hidden_size: int, input_rank: int | None, recurrent_rank: int | None) -> None:
        """Draws the matrices from torch's global generator.

        Raises:
            InvalidInputError: a size below 1, or a rank outside 1 to the matrix's smaller size.
        """
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise InvalidInputError(f"input_size={input_size}, hidden_size={hidden_size}: expected at least 1 each")
        for name, rank, largest in (
            ("input_rank", input_rank, min(input_size, hidden_size)),
            ("recurrent_rank", recurrent_rank, hidden_size),
        ):
            if rank is not None and not 1 <= rank <= largest:
                raise InvalidInputError(f"{name}={rank}: expected 1 to {largest}, or None for the full matrix")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.input_rank = input_rank
        self.recurrent_rank = recurrent_rank
        for name, rank, rows in (("W", input_rank, input_size), ("U", recurrent_rank, hidden_size)):
            shapes = {name: (rows, hidden_size)}
            if rank is not None:
                shapes = {f"{name}1": (rows, rank), f"{name}2": (rank, hidden_size)}
            for key, shape in shapes.items():
                self.register_parameter(key, nn.Parameter(0.1 * torch.randn(shape)))

    def matrices(self, name: str) -> list[Tensor]:
        """``W`` or ``U``: the matrix, or its two factors in the order in which a row vector meets them."""
        keys = [name] if hasattr(self, name) else [f"{name}1", f"{name}2"]
        return [self.get_parameter(key) for key in keys]

    def pre_activation(self, values: Tensor, name: str) -> Tensor:
        """``values`` times W or U."""
        for matrix in self.matrices(name):
            values = values @ matrix
        return values

    def step(self, driven: Tensor, state: Tensor) -> Tensor:
        """The state [B, H] after one step, of x W [B, H] and the state before."""
        raise NotImplementedError

    def cell(self, inputs: Tensor, state: Tensor) -> Tensor:
        """The state [B, H] after one step, of ``inputs`` [B, I] and the state before."""
        return self.step(self.pre_activation(inputs, "W"), state)

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States [T, B, H] and the last one [B, H] of ``inputs`` [T, B, I], from ``initial`` [B, H] or from zeros.

        Raises:
            InvalidInputError: for another rank or input size, or for T = 0.
        """
        if inputs.dim() != 3 or inputs.shape[2] != self.input_size or inputs.shape[0] == 0:
            raise InvalidInputError(
                f"{type(self).__name__}: found inputs {list(inputs.shape)}, expected [T, B, {self.input_size}], T >= 1"
            )
        driven = self.pre_activation(inputs, "W")
        state = driven.new_zeros(driven.shape[1:]) if initial is None else initial
        states = []
        for driven_t in driven.unbind(0):
            state = self.step(driven_t, state)
            states.append(state)
        return torch.stack(states), state


class FastRNN(FastLayer):
    """``h_t = sigmoid(alpha) act(x_t W + h_{t-1} U + b) + sigmoid(beta) h_{t-1}``.

    Parameters: those of ``FastLayer``, ``bias_update`` [1, H], ``alpha`` [1, 1] and ``beta`` [1, 1].
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "tanh",
        input_rank: int | None = None,
        recurrent_rank: int | None = None,
    ) -> None:
        """Builds the layer with the authors' initial values.

        Args:
            input_size: I.
            hidden_size: H.
            activation: one of ``NONLINEARITIES``.
            input_rank, recurrent_rank: of W and U, or None for full matrices.

        Raises:
            InvalidInputError: for a value outside these.
        """
        super().__init__(input_size, hidden_size, input_rank, recurrent_rank)
        if activation not in NONLINEARITIES:
            raise InvalidInputError(f"activation={activation!r}: expected one of {', '.join(NONLINEARITIES)}")
        self.activation = activation
        self.bias_update = nn.Parameter(torch.ones(1, hidden_size))
        self.alpha = nn.Parameter(-3.0 * torch.ones(1, 1))
        self.beta = nn.Parameter(3.0 * torch.ones(1, 1))

    def step(self, driven: Tensor, state: Tensor) -> Tensor:
        """One step, see the class."""
        sums = driven + self.pre_activation(state, "U") + self.bias_update
        return torch.sigmoid(self.alpha) * nonlinear(sums, self.activation) + torch.sigmoid(self.beta) * state
