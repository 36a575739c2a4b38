"""``torch.nn.LSTM``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.directions import run_layers, suffixes
from qdeploy.capture.twins.registry import twin_of

__all__ = ["LSTMTwin"]


@twin_of(nn.LSTM, recurrent=True)
class LSTMTwin(nn.LSTM):
    """One ``LSTM`` a layer and direction; the two biases become their sum.

    A projected layer (``proj_size``) shows the loop P s instead of its hidden state s = o tanh(c). W P s is a product with
    one matrix, W P, so that the layer is an LSTM without projection and a linear layer P behind it. What it shows is the
    same; the state it keeps is s, of ``hidden_size`` numbers, and W P has ``4 hidden_size^2``.
    """

    capture_path: str

    def freeze(self) -> None:
        """Makes the sums of the biases, ``bias_l0`` ..., and of a projected layer W P and the pseudoinverse of P."""
        for suffix in suffixes(self):
            recurrent_weight = self.get_parameter(f"weight_hh_{suffix}")
            if self.proj_size:
                projection = self.get_parameter(f"weight_hr_{suffix}").detach().double()
                merged = (recurrent_weight.detach().double() @ projection).to(recurrent_weight.dtype)
                inverse = torch.linalg.pinv(projection).to(recurrent_weight.dtype)
                self.register_parameter(f"recurrent_{suffix}", nn.Parameter(merged, requires_grad=False))
                self.register_parameter(f"unprojected_{suffix}", nn.Parameter(inverse, requires_grad=False))
            bias = recurrent_weight.new_zeros(recurrent_weight.shape[0])
            if self.bias:
                bias = self.get_parameter(f"bias_ih_{suffix}") + self.get_parameter(f"bias_hh_{suffix}")
            self.register_parameter(f"bias_{suffix}", nn.Parameter(bias, requires_grad=False))

    def one(self, sequence: Tensor, suffix: str, start: tuple[Tensor, ...] | None, name: str) -> tuple[Tensor, ...]:
        """One layer in one direction as one node."""
        states_before = None if start is None else (start[0], start[1])
        if self.proj_size and states_before is not None:
            # Of all s with P s = h0 the smallest one: zeros stay zeros. Any other makes a state that the network computes,
            # which has no place in the integer form.
            unprojected = self.get_parameter(f"unprojected_{suffix}")
            states_before = (functional.linear(states_before[0], unprojected), states_before[1])
        states, hidden, cell = torch_ops.lstm(
            sequence,
            self.get_parameter(f"weight_ih_{suffix}"),
            self.get_parameter(f"recurrent_{suffix}" if self.proj_size else f"weight_hh_{suffix}"),
            self.get_parameter(f"bias_{suffix}"),
            states_before,
            layer=name,
        )
        if self.proj_size:
            projection = self.get_parameter(f"weight_hr_{suffix}")
            states, hidden = functional.linear(states, projection), functional.linear(hidden, projection)
        return states, hidden, cell

    def forward(  # type: ignore[override]  # the base class is overloaded for packed sequences
        self,
        input: Any,  # noqa: A002  # the base class's name
        hx: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        states, (hidden, cell) = run_layers(self, input, hx, self.one)
        return states, (hidden, cell)
