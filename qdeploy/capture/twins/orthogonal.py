"""Orthogonal RNNs, and the classifier around one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.hadamard_rnn import HadamardRNN
from qdeploy.models.orthogonal_classifier import OrthogonalClassifier
from qdeploy.models.orthogonal_rnn import OrthogonalRNN
from qdeploy.models.recurrence import MODRELU_EPSILON
from qdeploy.models.simple_recurrent import SimpleRecurrentLayer

__all__ = ["ClassifierTwin", "HadamardTwin", "OrthogonalTwin"]


class _MaterializedTwin(SimpleRecurrentLayer):
    """One ``RNN`` of the materialized weights."""

    capture_path: str
    recurrent_weight: nn.Parameter

    def freeze(self) -> None:
        """The latent parameters take the values that the loop multiplies by; modReLU's epsilon joins its bias."""
        recurrent_weight, input_weight = self.materialize()
        self.recurrent_weight = nn.Parameter(recurrent_weight, requires_grad=False)
        self.input_weight = nn.Parameter(input_weight, requires_grad=False)
        if self.modrelu_bias is not None:
            self.modrelu_bias = nn.Parameter(self.modrelu_bias + MODRELU_EPSILON, requires_grad=False)

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch_ops.rnn(
            inputs,
            self.input_weight,
            self.recurrent_weight,
            self.bias,
            self.modrelu_bias,
            initial,
            activation=self.activation,
            layer=self.capture_path,
        )

    def last_state(self, inputs: Tensor, initial: Tensor | None = None) -> Tensor:
        return self(inputs, initial)[1]  # type: ignore[no-any-return]  # Module.__call__ is untyped


@twin_of(OrthogonalRNN, recurrent=True)
class OrthogonalTwin(_MaterializedTwin, OrthogonalRNN):
    """The orthogonalized and quantized weight."""


@twin_of(HadamardRNN, recurrent=True)
class HadamardTwin(_MaterializedTwin, HadamardRNN):
    """Signs times the Hadamard matrix, written out; the quantization finds the signs again."""


# Its path is a prefix of its layers' names, and may be empty.
@twin_of(OrthogonalClassifier, path="")
class ClassifierTwin(OrthogonalClassifier):
    """The output activation and the output layer as one node each."""

    capture_path: str

    def freeze(self) -> None:
        """The latent output weight takes the values of its grid; modReLU's epsilon joins its bias."""
        weight, _ = self.materialize_output()
        self.output_weight = nn.Parameter(weight, requires_grad=False)
        if self.output_modrelu_bias is not None:
            self.output_modrelu_bias = nn.Parameter(self.output_modrelu_bias + MODRELU_EPSILON, requires_grad=False)

    def output_layer(self, states: Tensor) -> Tensor:
        prefix = f"{self.capture_path}." if self.capture_path else ""
        if self.output_activation == "relu":
            states = torch.relu(states)
        elif self.output_activation == "tanh":
            states = torch.tanh(states)
        elif self.output_modrelu_bias is not None:
            states = torch_ops.modrelu(states, self.output_modrelu_bias, layer=f"{prefix}output_modrelu")
        return torch_ops.linear(states, self.output_weight, self.output_bias, layer=f"{prefix}output")
