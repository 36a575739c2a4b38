"""The recurrent layer of quantized orthogonal RNNs (QORNN).

Source: Foucault, Mamalet, Malgouyres, arXiv 2402.04012.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .bjorck import bjorck_orthogonalize
from .phases import Phases, orthogonal_with_phases
from .quantizer import quantize_weight
from .simple_recurrent import SimpleRecurrentLayer

__all__ = ["ORTHOGONAL", "OrthogonalRNN"]

ORTHOGONAL = ("bjorck", "projunn-d", "projunn-t", "none")


class OrthogonalRNN(SimpleRecurrentLayer):
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
        super().__init__(input_size, hidden_size, activation, weight_bits)
        if orthogonal not in ORTHOGONAL:
            raise InvalidInputError(f"orthogonal={orthogonal!r}: expected one of {', '.join(ORTHOGONAL)}")
        self.orthogonal = orthogonal
        self.recurrent_weight = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()

    @property
    def recurrent_parameter(self) -> nn.Parameter:
        """The latent recurrent weight."""
        return self.recurrent_weight

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


def _negative_cycles(lengths: Sequence[int]) -> Tensor:
    """Minus a permutation matrix [sum of lengths, the same], of cycles of these lengths."""
    weight = torch.zeros(sum(lengths), sum(lengths))
    start = 0
    for length in lengths:
        units = torch.arange(start, start + length)
        weight[units.roll(-1), units] = -1.0
        start += length
    return weight
