"""What a training says of its epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["EpochReport", "TrainReport"]


@dataclass(frozen=True)
class EpochReport:
    """One line of ``metrics.jsonl``; accuracies are parts of one, bits are of a text's characters, each."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    test_accuracy: float
    quantization_strength: float
    learning_rate: float
    seconds: float
    validation_bits: float | None = None
    test_bits: float | None = None

    def is_better_than(self, other: EpochReport) -> bool:
        """First whose weights are closer to their grid, then the accuracy on held-out samples, then the later one.

        Of a text, the bits per character of the held-out part take the place of the accuracy.
        Without held-out samples that leaves the last epoch: a training set's accuracy under noise chooses nothing.
        """
        if self.quantization_strength != other.quantization_strength:
            return self.quantization_strength > other.quantization_strength
        if self.validation_bits is not None and other.validation_bits is not None:
            return self.validation_bits <= other.validation_bits
        if self.validation_accuracy is None or other.validation_accuracy is None:
            return self.epoch > other.epoch
        return self.validation_accuracy >= other.validation_accuracy


@dataclass(frozen=True)
class TrainReport:
    """What a training gave: the checkpoint's tensor file, the epoch that it holds, and figures of the data."""

    checkpoint: Path
    epochs: int
    best: EpochReport
    last: EpochReport
    references: Mapping[str, float] = field(default_factory=dict)
