"""Exporting twins: layers of a copied model change their class, so that each exports as one node.

A twin keeps the attributes, the parameters and the other methods of its layer, because user code reads such things as
``self.rnn.hidden_size``; only what is computed is written otherwise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.models.orthogonal_classifier import OrthogonalClassifier
from qdeploy.models.orthogonal_rnn import OrthogonalRNN
from qdeploy.models.quaternion_linear import QuaternionLinear
from qdeploy.models.recurrence import MODRELU_EPSILON
from qdeploy.runtime.errors import UnsupportedModelError

from . import torch_ops

__all__ = ["replace_layers"]


class _LinearTwin(nn.Linear):
    """One ``Linear``."""

    capture_path: str

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class's name
        return torch_ops.linear(input, self.weight, self.bias, layer=self.capture_path)


class _QuaternionTwin(QuaternionLinear):
    """``HamiltonMatrix`` and ``Linear``: the four components stay the stored weights."""

    capture_path: str

    def forward(self, inputs: Tensor) -> Tensor:
        components = (self.r_weight, self.i_weight, self.j_weight, self.k_weight)
        grouping = str(self.grouping)
        matrix = torch_ops.hamilton_matrix(components, grouping=grouping, layer=f"{self.capture_path}.matrix")
        return torch_ops.linear(inputs, matrix, self.bias, layer=self.capture_path)


class _OrthogonalTwin(OrthogonalRNN):
    """One ``RNN`` of the materialized weights."""

    capture_path: str

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


class _ClassifierTwin(OrthogonalClassifier):
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


class _RNNTwin(nn.RNN):
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


class _GRUTwin(nn.GRU):
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


class _LSTMTwin(nn.LSTM):
    """One ``LSTM`` a layer; the two biases become their sum."""

    capture_path: str

    def freeze(self) -> None:
        """The sums of the biases become parameters ``bias_l0`` ..., zeros where the layer has none."""
        for layer in range(self.num_layers):
            recurrent_weight = self.get_parameter(f"weight_hh_l{layer}")
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
            states, hidden, cell = torch_ops.lstm(
                states,
                self.get_parameter(f"weight_ih_l{layer}"),
                self.get_parameter(f"weight_hh_l{layer}"),
                self.get_parameter(f"bias_l{layer}"),
                None if hx is None else (hx[0][layer], hx[1][layer]),
                layer=f"{self.capture_path}_l{layer}" if self.num_layers > 1 else self.capture_path,
            )
            hidden_states.append(hidden)
            cell_states.append(cell)
        last = (torch.stack(hidden_states), torch.stack(cell_states))
        return states.transpose(0, 1) if self.batch_first else states, last


# The first that fits is taken.
_TWINS: tuple[tuple[type[nn.Module], type[nn.Module]], ...] = (
    (OrthogonalClassifier, _ClassifierTwin),
    (OrthogonalRNN, _OrthogonalTwin),
    (QuaternionLinear, _QuaternionTwin),
    (nn.RNN, _RNNTwin),
    (nn.GRU, _GRUTwin),
    (nn.LSTM, _LSTMTwin),
    (nn.Linear, _LinearTwin),
)


def replace_layers(module: nn.Module) -> int:
    """Gives the layers of ``module`` (a copy, in evaluation mode) their twins' classes, in place.

    A subclass of ``torch.nn.Linear`` with a ``forward`` of its own keeps it, and so does a layer with forward hooks:
    what they compute is traced operator by operator.

    Returns:
        The number of recurrent layers.

    Raises:
        UnsupportedModelError: a recurrent layer with forward hooks.
    """
    recurrent = 0
    for path, part in module.named_modules():
        for base, twin in _TWINS:
            if not isinstance(part, base):
                continue
            if base is nn.Linear and type(part).forward is not nn.Linear.forward:
                break
            hooked = bool(part._forward_hooks or part._forward_pre_hooks)  # noqa: SLF001  # torch has no other way to ask
            is_recurrent = base in (OrthogonalRNN, nn.RNN, nn.GRU, nn.LSTM)
            if hooked and is_recurrent:
                raise UnsupportedModelError(
                    f"layer {path or 'model'} ({type(part).__name__}): found forward hooks, expected none on a "
                    "recurrent layer; remove them before the export"
                )
            if hooked:
                break
            recurrent += is_recurrent
            part.__class__ = type(f"{type(part).__name__}Twin", (twin, type(part)), {})
            # A model that is a single layer has no path; the classifier's is a prefix, and may stay empty.
            vars(part)["capture_path"] = path or ("" if base is OrthogonalClassifier else base.__name__.lower())
            freeze = getattr(part, "freeze", None)
            if freeze is not None:
                freeze()
            break
    return recurrent
