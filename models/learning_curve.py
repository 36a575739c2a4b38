"""The picture of a training: loss and accuracies against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["draw_learning_curve"]

_LINES = (
    ("train_accuracy", "training"),
    ("validation_accuracy", "held out"),
    ("test_accuracy", "test"),
)


def draw_learning_curve(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A PNG at ``path`` from the lines of ``metrics.jsonl``; needs no display and no state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axes = figure.add_subplot(1, 2, 1)
    accuracy_axes = figure.add_subplot(1, 2, 2)
    epochs = [line["epoch"] for line in history]
    loss_axes.plot(epochs, [line["loss"] for line in history], color="black")
    loss_axes.set(title="training loss", xlabel="epoch")
    for key, label in _LINES:
        points = [(line["epoch"], line[key]) for line in history if line[key] is not None]
        if points:
            accuracy_axes.plot([point[0] for point in points], [100 * point[1] for point in points], label=label)
    accuracy_axes.set(title="accuracy, %", xlabel="epoch")
    accuracy_axes.legend()
    figure.savefig(path, format="png", dpi=110)
