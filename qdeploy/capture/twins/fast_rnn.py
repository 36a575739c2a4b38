"""FastRNN and FastGRNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.fast_grnn import FastGRNN
from qdeploy.models.fast_rnn import FastLayer, FastRNN

__all__ = ["FastGRNNTwin", "FastRNNTwin"]


class _FastTwin(FastLayer):
    """Matrices for column vectors; an input matrix of low rank is a ``Linear`` before the layer."""

    capture_path: str
    input_weight: Tensor
    recurrent_weight: Tensor
    input_factor: Tensor | None
    factor: Tensor | None
    merged_bias: Tensor
    mix: Tensor

    def freeze(self) -> None:
        """What the node reads becomes parameters."""
        input_factors, recurrent_factors = self.matrices("W"), self.matrices("U")
        values = {
            "input_weight": input_factors[-1].T,
            "recurrent_weight": recurrent_factors[-1].T,
            "input_factor": input_factors[0].T if len(input_factors) > 1 else None,
            "factor": recurrent_factors[0].T if len(recurrent_factors) > 1 else None,
            **self.constants(),
        }
        for name, value in values.items():
            kept = None if value is None else nn.Parameter(value.detach().contiguous().clone(), requires_grad=False)
            self.register_parameter(name, kept)

    def constants(self) -> dict[str, Tensor]:
        """``merged_bias`` and ``mix`` of the layer."""
        raise NotImplementedError

    def driving(self, inputs: Tensor) -> Tensor:
        """What the node reads as its input."""
        if self.input_factor is None:
            return inputs
        return torch_ops.linear(inputs, self.input_factor, None, layer=f"{self.capture_path}.input_factor")

    @property
    def weights(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """U, W and its factor."""
        return self.input_weight, self.recurrent_weight, self.factor


@twin_of(FastRNN, recurrent=True)
class FastRNNTwin(_FastTwin, FastRNN):
    """One ``FastRNN``."""

    def constants(self) -> dict[str, Tensor]:
        return {
            "merged_bias": self.bias_update.reshape(-1),
            "mix": torch.cat([torch.sigmoid(self.alpha), torch.sigmoid(self.beta)]).reshape(-1),
        }

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch_ops.fast_rnn(
            self.driving(inputs),
            self.weights,
            self.merged_bias,
            self.mix,
            initial,
            activation=self.activation,
            layer=self.capture_path,
        )


@twin_of(FastGRNN, recurrent=True)
class FastGRNNTwin(_FastTwin, FastGRNN):
    """One ``FastGRNN``."""

    def constants(self) -> dict[str, Tensor]:
        return {
            "merged_bias": torch.cat([self.bias_gate, self.bias_update], dim=1).reshape(-1),
            "mix": torch.cat([torch.sigmoid(self.zeta), torch.sigmoid(self.nu)]).reshape(-1),
        }

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch_ops.fast_grnn(
            self.driving(inputs),
            self.weights,
            self.merged_bias,
            self.mix,
            initial,
            activation=self.activation,
            gate=self.gate_activation,
            layer=self.capture_path,
        )
