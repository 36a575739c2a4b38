"""``torch.nn.GRU``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.directions import run_layers, suffixes
from qdeploy.capture.twins.registry import twin_of

__all__ = ["GRUTwin"]


@twin_of(nn.GRU, recurrent=True)
class GRUTwin(nn.GRU):
    """One ``GRU`` a layer and direction; r and z have the sum of their two biases, n keeps both."""

    capture_path: str

    def freeze(self) -> None:
        """``bias_l0`` ... [3H] and ``recurrent_bias_l0`` ... [H] become parameters, zeros where the layer has none."""
        for suffix in suffixes(self):
            hidden = self.hidden_size
            recurrent_weight = self.get_parameter(f"weight_hh_{suffix}")
            bias, recurrent_bias = recurrent_weight.new_zeros(3 * hidden), recurrent_weight.new_zeros(hidden)
            if self.bias:
                recurrent = self.get_parameter(f"bias_hh_{suffix}")
                beside = torch.cat([recurrent[: 2 * hidden], recurrent_bias])
                bias = self.get_parameter(f"bias_ih_{suffix}") + beside
                recurrent_bias = recurrent[2 * hidden :].clone()
            self.register_parameter(f"bias_{suffix}", nn.Parameter(bias, requires_grad=False))
            self.register_parameter(f"recurrent_bias_{suffix}", nn.Parameter(recurrent_bias, requires_grad=False))

    def one(self, sequence: Tensor, suffix: str, start: tuple[Tensor, ...] | None, name: str) -> tuple[Tensor, ...]:
        """One layer in one direction as one node."""
        return torch_ops.gru(
            sequence,
            self.get_parameter(f"weight_ih_{suffix}"),
            self.get_parameter(f"weight_hh_{suffix}"),
            self.get_parameter(f"bias_{suffix}"),
            self.get_parameter(f"recurrent_bias_{suffix}"),
            None if start is None else start[0],
            layer=name,
        )

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # noqa: A002  # the base class is overloaded for packed sequences
        states, (last,) = run_layers(self, input, None if hx is None else (hx,), self.one)
        return states, last
