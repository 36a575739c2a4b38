"""``torch.nn.RNN``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.directions import run_layers, suffixes
from qdeploy.capture.twins.registry import twin_of

__all__ = ["RNNTwin"]


@twin_of(nn.RNN, recurrent=True)
class RNNTwin(nn.RNN):
    """One ``RNN`` a layer and direction; the two biases become their sum."""

    capture_path: str

    def freeze(self) -> None:
        """The sums of the biases become parameters ``bias_l0`` ..., zeros where the layer has none."""
        for suffix in suffixes(self):
            recurrent_weight = self.get_parameter(f"weight_hh_{suffix}")
            bias = recurrent_weight.new_zeros(recurrent_weight.shape[0])
            if self.bias:
                bias = self.get_parameter(f"bias_ih_{suffix}") + self.get_parameter(f"bias_hh_{suffix}")
            self.register_parameter(f"bias_{suffix}", nn.Parameter(bias, requires_grad=False))

    def one(self, sequence: Tensor, suffix: str, start: tuple[Tensor, ...] | None, name: str) -> tuple[Tensor, ...]:
        """One layer in one direction as one node."""
        return torch_ops.rnn(
            sequence,
            self.get_parameter(f"weight_ih_{suffix}"),
            self.get_parameter(f"weight_hh_{suffix}"),
            self.get_parameter(f"bias_{suffix}"),
            None,
            None if start is None else start[0],
            activation=str(self.nonlinearity),
            layer=name,
        )

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # noqa: A002  # the base class is overloaded for packed sequences
        states, (last,) = run_layers(self, input, None if hx is None else (hx,), self.one)
        return states, last
