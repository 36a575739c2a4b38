"""A sequence classifier around recurrent layers of any kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qdeploy.runtime.errors import InvalidInputError

from .fast_grnn import FastGRNN
from .fast_rnn import FastRNN
from .ligru import LiGRU, QuaternionLiGRU
from .quaternion_recurrent import QuaternionGRU, QuaternionLSTM, QuaternionRNN

__all__ = ["CELLS", "READOUTS", "RecurrentClassifier"]

READOUTS = ("last", "mean", "every")

CELLS: dict[str, Callable[..., nn.Module]] = {
    "rnn-tanh": lambda inputs, hidden: nn.RNN(inputs, hidden, nonlinearity="tanh"),
    "rnn-relu": lambda inputs, hidden: nn.RNN(inputs, hidden, nonlinearity="relu"),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "ligru": LiGRU,
    "quaternion-ligru": QuaternionLiGRU,
    "fast-rnn": FastRNN,
    "fast-grnn": FastGRNN,
    "quaternion-rnn-tanh": QuaternionRNN,
    "quaternion-rnn-relu": lambda inputs, hidden: QuaternionRNN(inputs, hidden, "relu"),
    "quaternion-gru": QuaternionGRU,
    "quaternion-lstm": QuaternionLSTM,
}
"""By name, what makes a layer of I inputs and H units: time-major, ``(states [T, B, H], ...) = layer(inputs [T, B, I])``."""

CELL_OPTIONS = {
    "fast-rnn": frozenset({"activation", "input_rank", "recurrent_rank"}),
    "fast-grnn": frozenset({"activation", "gate_activation", "input_rank", "recurrent_rank"}),
}
"""By cell, which options of the layer the classifier hands on."""


class RecurrentClassifier(nn.Module):
    """``y = V h + b`` of the last state, of the states' mean over time, or of every state of recurrent layers.

    Parameters: those of ``layers`` (one a layer), ``output.weight`` [C, H] and ``output.bias`` [C], and of a classifier that
    takes indices ``embedding.weight`` [I, E].
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        cell: str,
        layers: int = 1,
        readout: str = "last",
        activation: str | None = None,
        gate_activation: str | None = None,
        input_rank: int | None = None,
        recurrent_rank: int | None = None,
        embedding_size: int | None = None,
    ) -> None:
        """Builds the classifier with weights drawn from torch's global generator.

        Args:
            input_size: I, the numbers of a step, or with an embedding how many different indices there are.
            hidden_size: H, of every layer.
            num_classes: C.
            cell: a name of ``CELLS``.
            layers: how many recurrent layers stand on each other.
            readout: ``last`` and ``mean`` give logits [B, C], ``every`` gives [B, T, C].
            activation, gate_activation, input_rank, recurrent_rank: of ``fast-rnn`` (without a gate) and ``fast-grnn``,
                where they are given.
            embedding_size: E, of the vector that stands for an index in front of the layers; ``None`` for inputs that are
                numbers.

        Raises:
            InvalidInputError: for a value outside these.
        """
        super().__init__()
        options = {
            name: value
            for name, value in {
                "activation": activation,
                "gate_activation": gate_activation,
                "input_rank": input_rank,
                "recurrent_rank": recurrent_rank,
            }.items()
            if value is not None
        }
        if cell not in CELLS:
            raise InvalidInputError(f"cell={cell!r}: expected one of {', '.join(CELLS)}")
        refused = sorted(set(options) - CELL_OPTIONS.get(cell, frozenset()))
        if refused:
            raise InvalidInputError(f"{refused[0]}={options[refused[0]]!r}: cell {cell!r} has no such option")
        if readout not in READOUTS:
            raise InvalidInputError(f"readout={readout!r}: expected one of {', '.join(READOUTS)}")
        if min(input_size, hidden_size, num_classes, layers, embedding_size or 1) < 1 or embedding_size == 0:
            raise InvalidInputError(
                f"input_size={input_size}, hidden_size={hidden_size}, num_classes={num_classes}, layers={layers}, "
                f"embedding_size={embedding_size}: expected at least 1 each"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.cell = cell
        self.readout = readout
        self.embedding = None if embedding_size is None else nn.Embedding(input_size, embedding_size)
        sizes = [embedding_size or input_size, *[hidden_size] * (layers - 1)]
        self.layers = nn.ModuleList(CELLS[cell](size, hidden_size, **options) for size in sizes)
        self.output = nn.Linear(hidden_size, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, C], or [B, T, C] of every step, of ``inputs`` [B, T, I], float32, or of indices [B, T], integers.

        Raises:
            InvalidInputError: for another rank or input size.
        """
        wanted = [self.input_size] if self.embedding is None else []
        if inputs.dim() != 2 + len(wanted) or list(inputs.shape[2:]) != wanted:
            expected = f"[B, T, {self.input_size}]" if wanted else "indices [B, T]"
            raise InvalidInputError(f"recurrent classifier: found inputs {list(inputs.shape)}, expected {expected}")
        states = inputs.transpose(0, 1)
        if self.embedding is not None:
            states = self.embedding(states)
        for layer in self.layers:
            result: Any = layer(states)
            states = result[0]
        if self.readout == "every":
            every: Tensor = self.output(states).transpose(0, 1)
            return every
        read = states[-1] if self.readout == "last" else torch.mean(states, dim=0)
        logits: Tensor = self.output(read)
        return logits

    def extra_repr(self) -> str:
        """What ``print(module)`` shows of it."""
        return f"cell={self.cell!r}, readout={self.readout!r}"
