"""Quaternion recurrent layers: RNN, GRU and LSTM whose matrix products are Hamilton products.

Every gate is ``act(L(w) h_{t-1} + L(u) x_t + b)``; activations and all other products work component by component.
Source: Parcollet et al., "Quaternion recurrent neural networks", ICLR 2019, equations 11 to 15 (initialization: section
3.3). A state of H channels is H/4 quaternions, blocked as [r... i... j... k...].
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .quaternion_linear import hamilton_matrix

__all__ = [
    "GATE_LAYOUTS",
    "QUATERNION_ACTIVATIONS",
    "QuaternionGRU",
    "QuaternionLSTM",
    "QuaternionRNN",
    "QuaternionRecurrent",
    "order_gate_rows",
]

GATE_LAYOUTS = ("per-gate", "per-part")
QUATERNION_ACTIVATIONS = ("tanh", "relu")

Components = tuple[nn.Parameter, nn.Parameter, nn.Parameter, nn.Parameter]


def order_gate_rows(rows: Tensor, parts: int, order: tuple[int, ...]) -> Tensor:
    """Rows [P G n, ...], ordered by part, then gate, as rows ordered by gate, each of P n: gate ``order[0]`` first.

    The Hamilton matrix of stacked gates has the real parts of all gates, then their i, j and k parts: P = 4. Where every
    part of one product is a gate, P = 1.
    """
    blocks = rows.reshape(parts, len(order), -1, *rows.shape[1:])
    return blocks.transpose(0, 1)[list(order)].reshape(rows.shape)


class QuaternionRecurrent(nn.Module):
    """What the layers have in common: components of ``U`` and ``W``, the bias, and the order of the gates' rows.

    Parameters: ``input_r_weight``, ``input_i_weight``, ``input_j_weight``, ``input_k_weight``, each [G H/4, I/4], the gates
    one below the other; ``recurrent_r_weight`` ... ``recurrent_k_weight``, each [G H/4, H/4]; ``bias`` [G H], gate by gate.
    """

    gates: ClassVar[int]

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Args:
            input_size: I, a multiple of 4.
            hidden_size: H, a multiple of 4.

        Raises:
            InvalidInputError: for sizes that are not positive multiples of four.
        """
        super().__init__()
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
            if value < 4 or value % 4:
                raise InvalidInputError(
                    f"{name}={value}: expected a positive multiple of 4, since four channels make a quaternion"
                )
        self.input_size = input_size
        self.hidden_size = hidden_size
        rows = self.gates * hidden_size // 4
        for component in "rijk":
            self.register_parameter(f"input_{component}_weight", nn.Parameter(torch.empty(rows, input_size // 4)))
        for component in "rijk":
            self.register_parameter(f"recurrent_{component}_weight", nn.Parameter(torch.empty(rows, hidden_size // 4)))
        self.bias = nn.Parameter(torch.empty(self.gates * hidden_size))
        self.reset_parameters()

    @property
    def row_parts(self) -> int:
        """P of ``order_gate_rows``: how many parts the rows of one gate have in the Hamilton matrix."""
        return 4

    @property
    def row_order(self) -> tuple[int, ...]:
        """Which gate of the Hamilton matrix' rows is the first, second ... of the layer."""
        return tuple(range(self.gates))

    def reset_parameters(self) -> None:
        """Modulus of chi(4) distribution times ``1/sqrt(2 (n_in + n_out))`` (Glorot; n in quaternions, of one gate).

        Directions are uniform: together, four independent normal components. Biases are zero.
        """
        units = self.hidden_size // 4
        for components, inputs in (
            (self.input_components(), self.input_size // 4),
            (self.recurrent_components(), units),
        ):
            for component in components:
                nn.init.normal_(component, std=(2.0 * (inputs + units)) ** -0.5)
        nn.init.zeros_(self.bias)

    def input_components(self) -> Components:
        """``r, i, j, k`` of ``U``, each [G H/4, I/4]."""
        r, i, j, k = (self.get_parameter(f"input_{component}_weight") for component in "rijk")
        return r, i, j, k

    def recurrent_components(self) -> Components:
        """``r, i, j, k`` of ``W``, each [G H/4, H/4]."""
        r, i, j, k = (self.get_parameter(f"recurrent_{component}_weight") for component in "rijk")
        return r, i, j, k

    def input_matrix(self) -> Tensor:
        """``U`` [G H, I] as real numbers, gate by gate, each gate's rows blocked."""
        return order_gate_rows(hamilton_matrix(*self.input_components()), self.row_parts, self.row_order)

    def recurrent_matrix(self) -> Tensor:
        """``W`` [G H, H] as real numbers, gate by gate, each gate's rows blocked."""
        return order_gate_rows(hamilton_matrix(*self.recurrent_components()), self.row_parts, self.row_order)

    def _check(self, inputs: Tensor, *initial: Tensor) -> None:
        if inputs.dim() != 3 or inputs.shape[0] == 0 or inputs.shape[2] != self.input_size:
            raise InvalidInputError(
                f"{type(self).__name__}: found inputs {list(inputs.shape)}, expected [T, B, {self.input_size}] with T >= 1"
            )
        expected = (inputs.shape[1], self.hidden_size)
        for state in initial:
            if state.shape != expected:
                raise InvalidInputError(
                    f"{type(self).__name__}: found an initial state {list(state.shape)}, expected {list(expected)}"
                )

    def _parameters_of_torch(self) -> list[Tensor]:
        """U, W and the two biases of torch's own loops."""
        return [self.input_matrix(), self.recurrent_matrix(), self.bias, torch.zeros_like(self.bias)]

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"{self.input_size}, {self.hidden_size}"


class QuaternionRNN(QuaternionRecurrent):
    """``h_t = act(L(w) h_{t-1} + L(u) x_t + b)``."""

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, activation: str = "tanh") -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Args:
            input_size: I, a multiple of 4.
            hidden_size: H, a multiple of 4.
            activation: ``tanh`` or ``relu``.

        Raises:
            InvalidInputError: for a value outside these.
        """
        if activation not in QUATERNION_ACTIVATIONS:
            raise InvalidInputError(f"activation={activation!r}: expected one of {', '.join(QUATERNION_ACTIVATIONS)}")
        super().__init__(input_size, hidden_size)
        self.activation = activation

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
        run = torch.rnn_tanh if self.activation == "tanh" else torch.rnn_relu
        states, last = run(
            inputs, initial[None], self._parameters_of_torch(), True, 1, 0.0, self.training, False, False
        )
        return states, last[0]

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"{super().extra_repr()}, activation={self.activation!r}"


class QuaternionGRU(QuaternionRecurrent):
    """``h_t = (1 - z) n + z h_{t-1}`` with ``r, z = sigmoid(...)`` and ``n = tanh(r (L(w) h_{t-1} + c) + L(u) x_t + b)``.

    The gates are stacked r, z, n. The reset gate stands behind the recurrent product, as in torch.nn.GRU. Beside the
    parameters of ``QuaternionRecurrent`` there is ``recurrent_bias`` [H], c.
    """

    gates = 3

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """As ``QuaternionRecurrent``."""
        super().__init__(input_size, hidden_size)
        self.recurrent_bias = nn.Parameter(torch.zeros(hidden_size))

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
        input_weight, recurrent_weight, bias, none = self._parameters_of_torch()
        recurrent_bias = torch.cat([none[: 2 * self.hidden_size], self.recurrent_bias])
        weights = [input_weight, recurrent_weight, bias, recurrent_bias]
        states, last = torch.gru(inputs, initial[None], weights, True, 1, 0.0, self.training, False, False)
        return states, last[0]


class QuaternionLSTM(QuaternionRecurrent):
    """``c_t = f c_{t-1} + i g``, ``h_t = o tanh(c_t)`` with ``i, f, o = sigmoid(...)`` and ``g = tanh(...)``.

    The gates are stacked i, f, g, o, as in torch.nn.LSTM. ``gate_layout`` says what a gate is:

    - ``per-gate``: a Hamilton product of its own (Parcollet et al.);
    - ``per-part``: one part of a single Hamilton product of H output quaternions, whose real part is the input gate, i the
      forget gate, j the output gate, and k the candidate (SpeechBrain's layer). The parameters have the same shapes; only
      the rows of the components mean something else. ``bias`` is gate by gate, i, f, g, o, in both.
    """

    gates = 4

    def __init__(self, input_size: int, hidden_size: int, gate_layout: str = "per-gate") -> None:
        """Builds the layer with weights drawn from torch's global generator.

        Args:
            input_size: I, a multiple of 4.
            hidden_size: H, a multiple of 4.
            gate_layout: ``per-gate`` or ``per-part``.

        Raises:
            InvalidInputError: for a value outside these.
        """
        if gate_layout not in GATE_LAYOUTS:
            raise InvalidInputError(f"gate_layout={gate_layout!r}: expected one of {', '.join(GATE_LAYOUTS)}")
        super().__init__(input_size, hidden_size)
        self.gate_layout = gate_layout

    @property
    def row_parts(self) -> int:
        """P of ``order_gate_rows``."""
        return 4 if self.gate_layout == "per-gate" else 1

    @property
    def row_order(self) -> tuple[int, ...]:
        """The third of SpeechBrain's parts is the output gate, the fourth the candidate."""
        return (0, 1, 2, 3) if self.gate_layout == "per-gate" else (0, 1, 3, 2)

    def reset_parameters(self) -> None:
        """As the other layers; the forget gate begins open, with a bias of 1 (Jozefowicz et al., 2015)."""
        super().reset_parameters()
        with torch.no_grad():
            self.bias[self.hidden_size : 2 * self.hidden_size] = 1.0

    def forward(
        self, inputs: Tensor, initial: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Runs over ``inputs`` [T, B, I] from ``initial``, the states h and c, each [B, H] (zero by default).

        Returns:
            All hidden states [T, B, H], and the last h and c, each [B, H].

        Raises:
            InvalidInputError: for another rank or size, or for T = 0.
        """
        if initial is None:
            zeros = inputs.new_zeros((*inputs.shape[1:2], self.hidden_size))
            initial = (zeros, zeros)
        self._check(inputs, *initial)
        start = [state[None] for state in initial]
        states, hidden, cell = torch.lstm(
            inputs, start, self._parameters_of_torch(), True, 1, 0.0, self.training, False, False
        )
        return states, (hidden[0], cell[0])

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"{super().extra_repr()}, gate_layout={self.gate_layout!r}"
