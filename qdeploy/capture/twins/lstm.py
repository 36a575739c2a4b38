"""``torch.nn.LSTM``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["LSTMTwin"]


@twin_of(nn.LSTM, recurrent=True)
class LSTMTwin(nn.LSTM):
    """One ``LSTM`` a layer; the two biases become their sum.

    A projected layer (``proj_size``) shows the loop P s instead of its hidden state s = o tanh(c). W P s is a product with
    one matrix, W P, so that the layer is an LSTM without projection and a linear layer P behind it. What it shows is the
    same; the state it keeps is s, of ``hidden_size`` numbers, and W P has ``4 hidden_size^2``.
    """

    capture_path: str

    def freeze(self) -> None:
        """Makes the sums of the biases, ``bias_l0`` ..., and of a projected layer W P and the pseudoinverse of P."""
        for layer in range(self.num_layers):
            recurrent_weight = self.get_parameter(f"weight_hh_l{layer}")
            if self.proj_size:
                projection = self.get_parameter(f"weight_hr_l{layer}").detach().double()
                merged = (recurrent_weight.detach().double() @ projection).to(recurrent_weight.dtype)
                inverse = torch.linalg.pinv(projection).to(recurrent_weight.dtype)
                self.register_parameter(f"recurrent_l{layer}", nn.Parameter(merged, requires_grad=False))
                self.register_parameter(f"unprojected_l{layer}", nn.Parameter(inverse, requires_grad=False))
            bias = recurrent_weight.new_zeros(recurrent_weight.shape[0])
            if self.bias:
                bias = self.get_parameter(f"bias_ih_l{layer}") + self.get_parameter(f"bias_hh_l{layer}")
            self.register_parameter(f"bias_l{layer}", nn.Parameter(bias, requires_grad=False))

    def forward(  # type: ignore[override]  # the base class is overloaded for packed sequences
        self,
        input: Any,  # noqa: A002  # the base class's name
        hx: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if not isinstance(input, Tensor) or input.dim() != 3:
            found = f"rank {input.dim()}" if isinstance(input, Tensor) else type(input).__name__
            raise UnsupportedModelError(
                f"layer {self.capture_path} (torch.nn.LSTM): found an input of {found}, expected a tensor of rank 3; "
                "give it a batch axis, and sequences of one length instead of a packed sequence"
            )
        states = input.transpose(0, 1) if self.batch_first else input
        hidden_states, cell_states = [], []
        for layer in range(self.num_layers):
            start = None if hx is None else (hx[0][layer], hx[1][layer])
            if self.proj_size and start is not None:
                # Of all s with P s = h0 the smallest one: zeros stay zeros. Any other makes a state that the network computes,
                # which has no place in the integer form.
                start = (functional.linear(start[0], self.get_parameter(f"unprojected_l{layer}")), start[1])
            states, hidden, cell = torch_ops.lstm(
                states,
                self.get_parameter(f"weight_ih_l{layer}"),
                self.get_parameter(f"recurrent_l{layer}" if self.proj_size else f"weight_hh_l{layer}"),
                self.get_parameter(f"bias_l{layer}"),
                start,
                layer=f"{self.capture_path}_l{layer}" if self.num_layers > 1 else self.capture_path,
            )
            if self.proj_size:
                projection = self.get_parameter(f"weight_hr_l{layer}")
                states, hidden = functional.linear(states, projection), functional.linear(hidden, projection)
            hidden_states.append(hidden)
            cell_states.append(cell)
        last = (torch.stack(hidden_states), torch.stack(cell_states))
        return states.transpose(0, 1) if self.batch_first else states, last
