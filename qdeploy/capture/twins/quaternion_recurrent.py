"""Quaternion recurrent layers: the operator of the real layer, with matrices that are made of four components."""

from __future__ import annotations

from torch import Tensor

from qdeploy.capture import torch_ops
from qdeploy.capture.twins.registry import twin_of
from qdeploy.models.quaternion_recurrent import QuaternionGRU, QuaternionLSTM, QuaternionRecurrent, QuaternionRNN

__all__ = ["QuaternionGRUTwin", "QuaternionLSTMTwin", "QuaternionMatrices", "QuaternionRNNTwin"]


class QuaternionMatrices(QuaternionRecurrent):
    """``HamiltonMatrix`` and ``GateRows`` in front of the layer's node."""

    capture_path: str

    def input_matrix(self) -> Tensor:
        return self._matrix(self.input_components(), "input")

    def recurrent_matrix(self) -> Tensor:
        return self._matrix(self.recurrent_components(), "recurrent")

    def _matrix(self, components: tuple[Tensor, Tensor, Tensor, Tensor], name: str) -> Tensor:
        path = f"{self.capture_path}.{name}"
        matrix = torch_ops.hamilton_matrix(components, grouping="blocked", layer=f"{path}_matrix")
        if self.gates == 1 or (self.row_parts == 1 and self.row_order == tuple(range(self.gates))):
            return matrix
        return torch_ops.gate_rows(matrix, parts=self.row_parts, order=self.row_order, layer=f"{path}_rows")


@twin_of(QuaternionRNN, recurrent=True)
class QuaternionRNNTwin(QuaternionMatrices, QuaternionRNN):
    """One ``RNN``."""

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch_ops.rnn(
            inputs,
            self.input_matrix(),
            self.recurrent_matrix(),
            self.bias,
            None,
            initial,
            activation=self.activation,
            layer=self.capture_path,
        )


@twin_of(QuaternionGRU, recurrent=True)
class QuaternionGRUTwin(QuaternionMatrices, QuaternionGRU):
    """One ``GRU``."""

    def forward(self, inputs: Tensor, initial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch_ops.gru(
            inputs,
            self.input_matrix(),
            self.recurrent_matrix(),
            self.bias,
            self.recurrent_bias,
            initial,
            layer=self.capture_path,
        )


@twin_of(QuaternionLSTM, recurrent=True)
class QuaternionLSTMTwin(QuaternionMatrices, QuaternionLSTM):
    """One ``LSTM``."""

    def forward(
        self, inputs: Tensor, initial: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        states, hidden, cell = torch_ops.lstm(
            inputs, self.input_matrix(), self.recurrent_matrix(), self.bias, initial, layer=self.capture_path
        )
        return states, (hidden, cell)
