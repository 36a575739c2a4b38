"""``torch.nn.GRU``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["GRUTwin"]


@twin_of(nn.GRU, recurrent=True)
class GRUTwin(nn.GRU):
    """One ``GRU`` a layer; r and z have the sum of their two biases, n keeps both."""

    capture_path: str

    def freeze(self) -> None:
        """``bias_l0`` ... [3H] and ``recurrent_bias_l0`` ... [H] become parameters, zeros where the layer has none."""
        for layer in range(self.num_layers):
            hidden = self.hidden_size
            recurrent_weight = self.get_parameter(f"weight_hh_l{layer}")
            bias, recurrent_bias = recurrent_weight.new_zeros(3 * hidden), recurrent_weight.new_zeros(hidden)
            if self.bias:
                recurrent = self.get_parameter(f"bias_hh_l{layer}")
                beside = torch.cat([recurrent[: 2 * hidden], recurrent_bias])
                bias = self.get_parameter(f"bias_ih_l{layer}") + beside
                recurrent_bias = recurrent[2 * hidden :].clone()
            self.register_parameter(f"bias_l{layer}", nn.Parameter(bias, requires_grad=False))
            self.register_parameter(f"recurrent_bias_l{layer}", nn.Parameter(recurrent_bias, requires_grad=False))

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # noqa: A002  # the base class is overloaded for packed sequences
        if not isinstance(input, Tensor) or input.dim() != 3:
            found = f"rank {input.dim()}" if isinstance(input, Tensor) else type(input).__name__
            raise UnsupportedModelError(
                f"layer {self.capture_path} (torch.nn.GRU): found an input of {found}, expected a tensor of rank 3; "
                "give it a batch axis, and sequences of one length instead of a packed sequence"
            )
        states = input.transpose(0, 1) if self.batch_first else input
        last_states = []
        for layer in range(self.num_layers):
            states, last = torch_ops.gru(
                states,
                self.get_parameter(f"weight_ih_l{layer}"),
                self.get_parameter(f"weight_hh_l{layer}"),
                self.get_parameter(f"bias_l{layer}"),
                self.get_parameter(f"recurrent_bias_l{layer}"),
                None if hx is None else hx[layer],
                layer=f"{self.capture_path}_l{layer}" if self.num_layers > 1 else self.capture_path,
            )
            last_states.append(last)
        return states.transpose(0, 1) if self.batch_first else states, torch.stack(last_states)
