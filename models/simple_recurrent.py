"""What recurrent layers of one matrix share: inputs, bias, the loop, and sequences that begin alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .krylov import doubling_pays, linear_last_state
from .quantizer import MAX_WEIGHT_BITS
from .recurrence import ACTIVATIONS, recurrence

__all__ = ["SimpleRecurrentLayer"]


class SimpleRecurrentLayer(nn.Module):
    """``h_t = act(W h_{t-1} + U x_t + b)``; how ``W`` follows from the parameters is the subclass's.

    Parameters: ``input_weight`` [H, I], ``bias`` [H], ``modrelu_bias`` [H] where the activation is modReLU, and that
    of the subclass. They are not initialized here.
    """

    def __init__(self, input_size: int, hidden_size: int, activation: str, weight_bits: int | None) -> None:
        """Makes the parameters.

        Args:
            input_size: I, at least 1.
            hidden_size: H, at least 1.
            activation: ``relu``, ``modrelu``, ``tanh`` or ``linear``.
            weight_bits: k of the q_k grid, 1 to 8, or ``None`` for float weights.

        Raises:
            InvalidInputError: for a value outside these.
        """
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise InvalidInputError(f"input_size={input_size}, hidden_size={hidden_size}: expected at least 1 each")
        if activation not in ACTIVATIONS:
            raise InvalidInputError(f"activation={activation!r}: expected one of {', '.join(ACTIVATIONS)}")
        if weight_bits is not None and not 1 <= weight_bits <= MAX_WEIGHT_BITS:
            raise InvalidInputError(f"weight_bits={weight_bits}: expected 1 to {MAX_WEIGHT_BITS}, or None for float")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.activation = activation
        self.weight_bits = weight_bits
        # Part of the quantization error that is applied, raised to 1 by a training that starts in float.
        self.quantization_strength = 1.0
        self.input_weight = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.modrelu_bias = nn.Parameter(torch.empty(hidden_size)) if activation == "modrelu" else None

    @property
    def recurrent_parameter(self) -> nn.Parameter:
        """The latent parameter that ``W`` follows from; it has a learning rate of its own."""
        raise NotImplementedError

    def effective_weights(self) -> tuple[Tensor, Tensor]:
        """``W`` [H, H] and ``U`` [H, I] as the loop uses them, differentiable in the latent parameters."""
        raise NotImplementedError

    def powers(self, weight: Tensor) -> list[Tensor] | None:
        """``W, W^2, W^4, ...`` where they are kept from call to call, to which ``krylov_sequence`` adds; else ``None``."""
        del weight
        return None

    def retract(self) -> None:
        """Brings the latent recurrent parameter, unless it is frozen, to where an optimizer wants it, in place."""

    def materialize(self) -> tuple[Tensor, Tensor]:
        """Detached copies of the effective ``W`` [H, H] and ``U`` [H, I]: orthogonalized, on the q_k grid."""
        with torch.no_grad():
            weight, input_weight = self.effective_weights()
        return weight.detach().clone(), input_weight.detach().clone()

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs over ``inputs`` [T, B, I] from ``initial`` [B, H] (zero by default).

        Returns:
            All states [T, B, H] and the last one [B, H].

        Raises:
            InvalidInputError: for another rank or input size, or for T = 0.
        """
        self._check(inputs)
        if initial is None:
            segments, last = self._segments_from_zero(inputs)
            return torch.cat(segments) if len(segments) > 1 else segments[0], last
        return self._run(inputs, initial, *self.effective_weights())

    def last_state(self, inputs: Tensor) -> Tensor:
        """``h_T`` [B, H] over ``inputs`` [T, B, I] from zero, without putting together the states before it."""
        self._check(inputs)
        if self.activation == "linear" and doubling_pays(inputs.shape, self.hidden_size):
            weight, input_weight = self.effective_weights()
            return linear_last_state(inputs, weight, input_weight, self.bias, self.powers(weight))
        return self._segments_from_zero(inputs)[1]

    def _check(self, inputs: Tensor) -> None:
        if inputs.dim() != 3 or inputs.shape[0] == 0 or inputs.shape[2] != self.input_size:
            raise InvalidInputError(
                f"recurrent layer: found inputs {list(inputs.shape)}, expected [T, B, {self.input_size}] with T >= 1"
            )

    def _run(self, inputs: Tensor, initial: Tensor, weight: Tensor, input_weight: Tensor) -> tuple[Tensor, Tensor]:
        return recurrence(inputs, initial, weight, input_weight, self.bias, self.activation, self.modrelu_bias)

    def _segments_from_zero(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        """The states from ``h_0 = 0`` in one or two pieces along time, and the last one.

        Sequences that all begin alike, as images with an empty margin do, share their first states, and one row of
        the batch is computed for them: an eighth of a sequential-MNIST epoch. Only in training, for the number of
        those steps depends on the data.
        """
        weight, input_weight = self.effective_weights()
        batch = inputs.shape[1]
        initial = inputs.new_zeros((1, self.hidden_size))
        shared = _common_steps(inputs) if self.training else 0
        if shared == 0:
            states, last = self._run(inputs, initial.expand(batch, -1), weight, input_weight)
            return [states], last
        first, initial = self._run(inputs[:shared, :1], initial, weight, input_weight)
        rest, last = self._run(inputs[shared:], initial.expand(batch, -1), weight, input_weight)
        return [first.expand(-1, batch, -1), rest], last


def _common_steps(inputs: Tensor) -> int:
    """How many steps of ``inputs`` [T, B, I] at the beginning are the same in the whole batch; T - 1 at most."""
    if inputs.shape[1] == 1:
        return 0
    differs = (inputs != inputs[:, :1]).flatten(1).any(dim=1)
    differs[-1] = True
    return int(differs.nonzero()[0])
