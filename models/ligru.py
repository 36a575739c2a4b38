"""Light gated recurrent layers (LiGRU), real and quaternion.

Source: Ravanelli et al., "Light gated recurrent units for speech recognition", arXiv 1803.10225. Their batch normalization
of U x is an affine map of each row once it is trained, and folds into U and b (see ``qdeploy.models.importers``). With
tanh the layer is a minimal gated unit whose gate does not multiply the recurrent product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .quaternion_recurrent import GATE_LAYOUTS, QuaternionRecurrent

__all__ = ["LIGRU_ACTIVATIONS", "LiGRU", "QuaternionLiGRU", "light_gated_recurrence"]

LIGRU_ACTIVATIONS = ("relu", "leaky-relu", "tanh")

LEAKY_SLOPE = 0.01
"""torch.nn.LeakyReLU's."""


def light_gated_recurrence(
    driven: Tensor, initial: Tensor, recurrent_weight: Tensor, activation: str, slope: float
) -> tuple[Tensor, Tensor]:
    """``h_t = z h_{t-1} + (1 - z) act(a)`` with ``[a; z] = W h_{t-1} + driven_t``, ``z`` behind a sigmoid.

    Args:
        driven: ``U x + b`` of all steps, [T, B, 2H].
        initial: [B, H].
        recurrent_weight: [2H, H], rows of the candidate, then of the gate.
        activation: one of ``LIGRU_ACTIVATIONS``.
        slope: below zero, of a leaky ReLU.

    Returns:
        All states [T, B, H] and the last one [B, H].
    """
    state, states = initial, []
    for step in driven:
        candidate, update = torch.addmm(step, state, recurrent_weight.t()).chunk(2, dim=1)
        if activation == "tanh":
            candidate = torch.tanh(candidate)
        else:
            candidate = nn.functional.leaky_relu(candidate, slope if activation == "leaky-relu" else 0.0)
        state = torch.lerp(candidate, state, torch.sigmoid(update))
        states.append(state)
    return torch.stack(states), state


def _check_activation(activation: str, slope: float) -> None:
    if activation not in LIGRU_ACTIVATIONS:
        raise InvalidInputError(f"activation={activation!r}: expected one of {', '.join(LIGRU_ACTIVATIONS)}")
    if not 0.0 <= slope < 1.0:
        raise InvalidInputError(f"slope={slope}: expected 0 to 1, 1 not included")


class LiGRU(nn.Module):
    """``[a; z] = W h_{t-1} + U x_t + b``, ``h_t = sigmoid(z) h_{t-1} + (1 - sigmoid(z)) act(a)``.

    Parameters: ``input_weight`` [2H, I], ``recurrent_weight`` [2H, H] and ``bias`` [2H], rows of the candidate a first.
    """

    def __init__(self, input_size: int, hidden_size: int, activation: str = "relu", slope: float = LEAKY_SLOPE) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Args:
            input_size: I, at least 1.
            hidden_size: H, at least 1.
            activation: ``relu``, ``leaky-relu`` or ``tanh``.
            slope: below zero, of a leaky ReLU; 0 to 1.

        Raises:
            InvalidInputError: for a value outside these.
        """
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise InvalidInputError(f"input_size={input_size}, hidden_size={hidden_size}: expected at least 1 each")
        _check_activation(activation, slope)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.activation, self.slope = activation, slope
        self.input_weight = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.recurrent_weight = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.zeros(2 * hidden_size))
        nn.init.xavier_uniform_(self.input_weight)
        # The authors' initialization, each gate by itself.
        for rows in self.recurrent_weight.detach().chunk(2):
            nn.init.orthogonal_(rows)

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs over ``inputs`` [T, B, I] from ``initial`` [B, H] (zero by default).

        Returns:
            All states [T, B, H] and the last one [B, H].

        Raises:
            InvalidInputError: for another rank or size, or for T = 0.
        """
        if inputs.dim() != 3 or inputs.shape[0] == 0 or inputs.shape[2] != self.input_size:
            raise InvalidInputError(
                f"LiGRU: found inputs {list(inputs.shape)}, expected [T, B, {self.input_size}] with T >= 1"
            )
        if initial is None:
            initial = inputs.new_zeros((inputs.shape[1], self.hidden_size))
        driven = nn.functional.linear(inputs, self.input_weight, self.bias)
        return light_gated_recurrence(driven, initial, self.recurrent_weight, self.activation, self.slope)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"{self.input_size}, {self.hidden_size}, activation={self.activation!r}, slope={self.slope}"


class QuaternionLiGRU(QuaternionRecurrent):
    """``LiGRU`` whose matrix products are Hamilton products.

    ``gate_layout`` says what its two gates are:

    - ``per-gate``: each a Hamilton product of its own, stacked a, z;
    - ``per-part``: one Hamilton product of H/2 output quaternions, whose real and i parts are the candidate a and whose j and
      k parts are the gate z (SpeechBrain's layer). ``bias`` is a, then z, in both.
    """

    gates = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str = "leaky-relu",
        slope: float = LEAKY_SLOPE,
        gate_layout: str = "per-gate",
    ) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Args:
            input_size: I, a multiple of 4.
            hidden_size: H, a multiple of 4.
            activation: ``relu``, ``leaky-relu`` or ``tanh``.
            slope: below zero, of a leaky ReLU; 0 to 1.
            gate_layout: ``per-gate`` or ``per-part``.

        Raises:
            InvalidInputError: for a value outside these.
        """
        _check_activation(activation, slope)
        if gate_layout not in GATE_LAYOUTS:
            raise InvalidInputError(f"gate_layout={gate_layout!r}: expected one of {', '.join(GATE_LAYOUTS)}")
        super().__init__(input_size, hidden_size)
        self.activation, self.slope = activation, slope
        self.gate_layout = gate_layout

    @property
    def row_parts(self) -> int:
        """P of ``order_gate_rows``."""
        return 4 if self.gate_layout == "per-gate" else 1

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Runs over ``inputs`` [T, B, I] from ``initial`` [B, H] (zero by default).

        Returns:
            All states [T, B, H] and the last one [B, H].

        Raises:
            InvalidInputError: for another rank or size, or for T = 0.
        """
        if initial is None:
            initial = inputs.new_zeros((*inputs.shape[1:2], self.hidden_size))
        self._check(inputs, initial)
        driven = nn.functional.linear(inputs, self.input_matrix(), self.bias)
        return light_gated_recurrence(driven, initial, self.recurrent_matrix(), self.activation, self.slope)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return (
            f"{super().extra_repr()}, activation={self.activation!r}, slope={self.slope}, "
            f"gate_layout={self.gate_layout!r}"
        )
