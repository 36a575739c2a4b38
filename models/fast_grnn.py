"""FastGRNN: a gated recurrent layer whose gate and candidate share their matrices.

Source: Kusupati, Singh, Bhatia, Kumar, Jain, Varma, "FastGRNN", NeurIPS 2018. Parameters have the names and the layout of the
authors' code (EdgeML); ``importers.edgeml`` reads what that saves, in its other layouts too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .fast_rnn import NONLINEARITIES, FastLayer, nonlinear

__all__ = ["FastGRNN"]


class FastGRNN(FastLayer):
    """``z = act_g(a + b_g)``, ``n = act(a + b_u)``, ``h_t = (sigmoid(zeta) (1 - z) + sigmoid(nu)) n + z h_{t-1}``.

    ``a = x_t W + h_{t-1} U`` is the same for both. Parameters: those of ``FastLayer``, ``bias_gate`` and ``bias_update``
    [1, H], ``zeta`` and ``nu`` [1, 1].
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        gate_activation: str = "sigmoid",
        activation: str = "tanh",
        input_rank: int | None = None,
        recurrent_rank: int | None = None,
    ) -> None:
        """Builds the layer with the authors' initial values.

        Args:
            input_size: I.
            hidden_size: H.
            gate_activation, activation: act_g and act, of ``NONLINEARITIES``.
            input_rank, recurrent_rank: of W and U, or None for full matrices.

        Raises:
            InvalidInputError: for a value outside these.
        """
        super().__init__(input_size, hidden_size, input_rank, recurrent_rank)
        for name, value in (("gate_activation", gate_activation), ("activation", activation)):
            if value not in NONLINEARITIES:
                raise InvalidInputError(f"{name}={value!r}: expected one of {', '.join(NONLINEARITIES)}")
        self.gate_activation = gate_activation
        self.activation = activation
        self.bias_gate = nn.Parameter(torch.ones(1, hidden_size))
        self.bias_update = nn.Parameter(torch.ones(1, hidden_size))
        self.zeta = nn.Parameter(torch.ones(1, 1))
        self.nu = nn.Parameter(-4.0 * torch.ones(1, 1))

    def step(self, driven: Tensor, state: Tensor) -> Tensor:
        """One step, see the class."""
        sums = driven + self.pre_activation(state, "U")
        gate = nonlinear(sums + self.bias_gate, self.gate_activation)
        candidate = nonlinear(sums + self.bias_update, self.activation)
        return (torch.sigmoid(self.zeta) * (1 - gate) + torch.sigmoid(self.nu)) * candidate + gate * state
