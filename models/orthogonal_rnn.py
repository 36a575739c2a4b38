"""The recurrent layer of quantized orthogonal RNNs (QORNN).

Source: Foucault, Mamalet, Malgouyres, arXiv 2402.04012.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .bjorck import bjorck_orthogonalize
from .krylov import doubling_pays, linear_last_state
from .phases import Phases, orthogonal_with_phases
from .quantizer import MAX_WEIGHT_BITS, quantize_weight
from .recurrence import ACTIVATIONS, recurrence

__all__ = ["ORTHOGONAL", "OrthogonalRNN"]

ORTHOGONAL = ("bjorck", "projunn-d", "projunn-t", "none")


class OrthogonalRNN(nn.Module):
    """``h_t = act(W h_{t-1} + U x_t + b)`` with ``W`` orthogonal before its quantization.

    ``W = q_k(bjorck(recurrent_weight))`` and ``U = q_k(input_weight)``: the parameters are latent, ``materialize``
    gives what the loop multiplies by. With ``weight_bits=None`` both stay in float. With ``orthogonal="projunn-d"`` or
    ``"projunn-t"`` the latent weight is orthogonal itself, kept so by the optimizer (``projunn_optimizer.ProjUNN``), and
    ``W = q_k(recurrent_weight)``; with ``"none"`` too, and nothing keeps it orthogonal.

    Parameters: ``recurrent_weight`` [H, H], ``input_weight`` [H, I], ``bias`` [H], and ``modrelu_bias`` [H] where the
    activation is modReLU.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "relu",
        weight_bits: int | None = None,
        orthogonal: str = "bjorck",
    ) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Args:
            input_size: I, at least 1.
            hidden_size: H, at least 1.
            activation: ``relu``, ``modrelu``, ``tanh`` or ``linear``.
            weight_bits: k of the q_k grid, 1 to 8, or ``None`` for float weights.
            orthogonal: ``bjorck``, ``projunn-d``, ``projunn-t`` or ``none``.

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
        if orthogonal not in ORTHOGONAL:
            raise InvalidInputError(f"orthogonal={orthogonal!r}: expected one of {', '.join(ORTHOGONAL)}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.activation = activation
        self.weight_bits = weight_bits
        self.orthogonal = orthogonal
        # Part of the quantization error that is applied, raised to 1 by a training that starts in float.
        self.quantization_strength = 1.0
        self.recurrent_weight = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.input_weight = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.modrelu_bias = nn.Parameter(torch.empty(hidden_size)) if activation == "modrelu" else None
        self.reset_parameters()

    def reset_parameters(
        self,
        cycles: Sequence[int] | None = None,
        resting_state: float = 2.0,
        input_range: float = 0.6,
        *,
        random: bool = False,
        phases: Phases | None = None,
    ) -> None:
        """A linear orthogonal start, that lies on the q_k grid exactly.

        ``W`` is a permutation times -1, of cycles as long as ``cycles`` says. It is orthogonal, and of all q_k grids
        from two bits on it is a kind of orthogonal matrix without any quantization error: -alpha is a level and +alpha
        is not (a matrix near +1 would lose an eighth of its state at every step of a 4-bit grid). A cycle is a delay
        line that adds up what is one length apart: on an image read row by row, a length of one row sums columns, and
        one of a row and two pixels sums slanted lines. Different lengths therefore see different things, and even ones
        add, where odd ones alternate in sign.

        Without a bias, ReLU would halve the activity of an orthogonal recurrence at every step, and with it the
        gradient. With ``b = c (1 - W 1)`` the state ``c`` of every unit is a fixed point about which all units are
        active, so that the layer starts as a linear one that keeps its gradient over any number of steps.

        Args:
            cycles: the lengths, H together; one of H by default.
            resting_state: ``c``, for ReLU alone.
            input_range: ``U`` is uniform in +- this.
            phases: ``W`` has these eigenvalues instead, in a random basis; H is even.
            random: ``W`` is uniform on the orthogonal matrices instead, which mixes all units at every step: what
                language wants, where a delay line only remembers.

        Raises:
            InvalidInputError: lengths that do not sum to H, more than one of cycles, phases and random, or phases of an
                odd H.
        """
        if random + (cycles is not None) + (phases is not None) > 1:
            raise InvalidInputError("an initial recurrent weight has cycles, or phases, or is random: choose one")
        if phases is not None and self.hidden_size % 2:
            raise InvalidInputError(f"phases come in pairs: found hidden_size={self.hidden_size}, expected an even one")
        lengths = [self.hidden_size] if cycles is None else list(cycles)
        if sum(lengths) != self.hidden_size or min(lengths) < 1:
            raise InvalidInputError(f"cycles={lengths}: expected positive lengths that sum to {self.hidden_size}")
        with torch.no_grad():
            if phases is not None:
                angles = phases.angles(self.hidden_size // 2)
                self.recurrent_weight.copy_(orthogonal_with_phases(angles))
            elif random:
                nn.init.orthogonal_(self.recurrent_weight)
            else:
                self.recurrent_weight.copy_(_negative_cycles(lengths))
            nn.init.uniform_(self.input_weight, -input_range, input_range)
            self.bias.zero_()
            if self.activation == "relu":
                self.bias.copy_(resting_state * (1.0 - self.recurrent_weight.sum(dim=1)))
            if self.modrelu_bias is not None:
                self.modrelu_bias.zero_()

    def effective_weights(self) -> tuple[Tensor, Tensor]:
        """``W`` [H, H] and ``U`` [H, I] as the loop uses them, differentiable in the latent parameters."""
        weight: Tensor = self.recurrent_weight
        if self.orthogonal == "bjorck":
            weight = bjorck_orthogonalize(weight)
        return (
            quantize_weight(weight, self.weight_bits, self.quantization_strength),
            quantize_weight(self.input_weight, self.weight_bits, self.quantization_strength),
        )

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
            return linear_last_state(inputs, *self.effective_weights(), self.bias)
        return self._segments_from_zero(inputs)[1]

    def _check(self, inputs: Tensor) -> None:
        if inputs.dim() != 3 or inputs.shape[0] == 0 or inputs.shape[2] != self.input_size:
            raise InvalidInputError(
                f"orthogonal RNN: found inputs {list(inputs.shape)}, expected [T, B, {self.input_size}] with T >= 1"
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

    def retract(self) -> None:
        """Brings the latent recurrent weight, unless it is frozen, back to its orthogonal image, in place.

        The layer computes the same before and after. Made after every step of an optimizer, it keeps Björck's
        iteration short, and the latent weight from growing along directions that do not count.
        """
        if self.orthogonal == "bjorck" and self.recurrent_weight.requires_grad:
            with torch.no_grad():
                self.recurrent_weight.copy_(bjorck_orthogonalize(self.recurrent_weight))

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return (
            f"{self.input_size}, {self.hidden_size}, activation={self.activation!r}, "
            f"weight_bits={self.weight_bits}, orthogonal={self.orthogonal!r}"
        )


def _common_steps(inputs: Tensor) -> int:
    """How many steps of ``inputs`` [T, B, I] at the beginning are the same in the whole batch; T - 1 at most."""
    if inputs.shape[1] == 1:
        return 0
    differs = (inputs != inputs[:, :1]).flatten(1).any(dim=1)
    differs[-1] = True
    return int(differs.nonzero()[0])


def _negative_cycles(lengths: Sequence[int]) -> Tensor:
    """Minus a permutation matrix [sum of lengths, the same], of cycles of these lengths."""
    weight = torch.zeros(sum(lengths), sum(lengths))
    start = 0
    for length in lengths:
        units = torch.arange(start, start + length)
        weight[units.roll(-1), units] = -1.0
        start += length
    return weight
