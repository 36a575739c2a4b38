"""``torch.nn.RNN``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.runtime.errors import UnsupportedModelError

__all__ = ["RNNTwin"]


@twin_of(nn.RNN, recurrent=True)
class RNNTwin(nn.RNN):
    """One ``RNN`` a layer; the two biases become their sum."""

    capture_path: str

    def freeze(self) -> None:
        """The sums of the biases become parameters ``bias_l0`` ..., zeros where the layer has none."""
        for layer in range(self.num_layers):
            recurrent_weight = self.get_parameter(f"weight_hh_l{layer}")
            bias = recurrent_weight.new_zeros(recurrent_weight.shape[0])
            if self.bias:
                bias = self.get_parameter(f"bias_ih_l{layer}") + self.get_parameter(f"bias_hh_l{layer}")
            self.register_parameter(f"bias_l{layer}", nn.Parameter(bias, requires_grad=False))

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # noqa: A002  # the base class is overloaded for packed sequences
        if not isinstance(input, Tensor) or input.dim() != 3:
            found = f"rank {input.dim()}" if isinstance(input, Tensor) else type(input).__name__
            raise UnsupportedModelError(
                f"layer {self.capture_path} (torch.nn.RNN): found an input of {found}, expected a tensor of rank 3; "
                "give it a batch axis, and sequences of one length instead of a packed sequence"
            )
        states = input.transpose(0, 1) if self.batch_first else input
        last_states = []
        for layer in range(self.num_layers):
            states, last = torch_ops.rnn(
                states,
                self.get_parameter(f"weight_ih_l{layer}"),
                self.get_parameter(f"weight_hh_l{layer}"),
                self.get_parameter(f"bias_l{layer}"),
                None,
                None if hx is None else hx[layer],
                activation=str(self.nonlinearity),
                layer=f"{self.capture_path}_l{layer}" if self.num_layers > 1 else self.capture_path,
            )
            last_states.append(last)
        return states.transpose(0, 1) if self.batch_first else states, torch.stack(last_states)
