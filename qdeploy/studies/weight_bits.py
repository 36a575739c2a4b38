"""How many bits the weights need: the same network trained on the grids of several k, beside its float twin.

One configuration is trained anew for every number of bits, and, where it learns its recurrent weight on the grid, by
every method that keeps that weight near the orthogonal ones. The networks are judged as integer models beside what
quantization after training makes of the float twin: the table of ``ptq``, with a picture.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.quantize import Recipe
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies import ptq
from qdeploy.studies.variants import train_variant

if TYPE_CHECKING:
    from qdeploy.models.config import TrainingConfig

__all__ = ["BITS", "METHODS", "WeightBitsReport", "run", "write"]

BITS = (3, 4, 5, 6, 8)
METHODS = ("bjorck", "projunn-d", "projunn-t")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class WeightBitsReport:
    """The study's table.

    Attributes:
        config: the configuration that was trained.
        methods: of the recurrent weight; ``shaped`` is a float twin's weight, rounded and then left alone.
        table: float twin, its quantizations after training, and the trained networks.
    """

    config: str
    methods: tuple[str, ...]
    table: ptq.PtqReport

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        return {"config": self.config, "methods": list(self.methods), **self.table.to_dict()}

    def lines(self) -> list[str]:
        """For people."""
        return self.table.lines()


def run(
    config: str | Path,
    folder: Path,
    *,
    twin: str | Path | None = None,
    bits: Sequence[int] = BITS,
    methods: Sequence[str] | None = None,
    epochs: int | None = None,
    recipe: str | Path | Recipe = "default",
    limit: int | None = None,
    progress: Progress | None = None,
) -> WeightBitsReport:
    """Trains ``config`` for each number of bits and method, and judges all.

    Args:
        config: a training configuration of a quantized orthogonal network.
        folder: where the trainings go, one folder each; what is there already goes on or is taken as it is.
        twin: the float network beside; by default the configuration's ``initial_checkpoint``.
        bits: k, each 2 to 8.
        methods: for a configuration that rounds its float twin's weight only ``shaped``; for others of ``METHODS``.
        epochs: instead of the configuration's.
        recipe: gives states, activations and multipliers.
        limit: judge on at most so many test samples.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: no orthogonal network, no float twin, other bits or methods.
    """
    from qdeploy.models.config import load_config

    base = load_config(config)
    if base.architecture != "orthogonal-classifier":
        raise InvalidInputError(f"{base.name} trains {base.architecture}; the study is about orthogonal-classifier.")
    if not bits or not all(2 <= k <= 8 for k in bits):
        raise InvalidInputError(f"weight bits {list(bits)}; expected numbers of 2 to 8.")
    allowed = ("shaped",) if base.recurrent_rounding is not None else METHODS
    chosen = tuple(methods) if methods else allowed
    if not set(chosen) <= set(allowed):
        raise InvalidInputError(f"methods {', '.join(chosen)}; {base.name} can be trained by {', '.join(allowed)}.")
    beside = twin or base.initial_checkpoint
    if beside is None:
        raise InvalidInputError(f"{base.name} begins at no float network; name its float twin with --twin.")
    trained: list[Path] = []
    plan = [(method, k) for method in chosen for k in bits]
    for done, (method, k) in enumerate(plan):
        if progress:
            progress("training", done, len(plan))
        trained.append(train_variant(_variant(base, method, k, epochs), folder))
    if progress:
        progress("training", len(plan), len(plan))
    table = ptq.run(beside, trained=trained, bits=bits, recipe=recipe, limit=limit, progress=progress)
    return WeightBitsReport(base.name, chosen, table)


def _variant(base: TrainingConfig, method: str, bits: int, epochs: int | None) -> TrainingConfig:
    hyperparameters = {**base.hyperparameters, "weight_bits": bits}
    output = hyperparameters.get("output_weight_bits")
    if output is not None:
        hyperparameters["output_weight_bits"] = max(output, bits)
    if method != "shaped":
        hyperparameters["orthogonal"] = method
    return dataclasses.replace(
        base,
        name=f"{base.name}-{method}-k{bits}",
        hyperparameters=hyperparameters,
        # projUNN has its own rate, unless a weight at rest was asked for.
        recurrent_learning_rate=base.recurrent_learning_rate if method in ("shaped", "bjorck") else None,
        epochs=epochs or base.epochs,
    )


def write(report: WeightBitsReport, folder: Path) -> list[Path]:
    """Writes ``weight_bits.json`` and ``weight_bits.png`` into ``folder``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "weight_bits.json", folder / "weight_bits.png"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    draw(report, picture)
    return [table, picture]


def draw(report: WeightBitsReport, path: Path) -> None:
    """A PNG at ``path``: accuracy of the integer models against the bits of their weights, a line for each way there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = report.table
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axhline(100 * table.float_loss.accuracy, color="black", linewidth=1, label=f"{table.model}, float")
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in table.rows:
        label = {"q_k": "after training, nearest level (q_k)", "recipe": f"after training, recipe {table.recipe}"}.get(
            row.how, "trained on the grid: " + next((m for m in report.methods if f"-{m}-k" in row.name), row.name)
        )
        lines.setdefault(label, []).append((row.bits, 100 * row.integer_loss.accuracy))
    for index, (label, points) in enumerate(lines.items()):
        bits, accuracies = zip(*sorted(points), strict=True)
        axes.plot(bits, accuracies, color=f"C{index}", marker="o", markersize=4, linewidth=1.3, label=label)
    axes.set_xticks(sorted({row.bits for row in table.rows}))
    axes.set_xlabel("bits of a weight")
    axes.set_ylabel("accuracy of the integer model, %")
    axes.set_title(f"{report.config} on {table.data}, {table.samples:,} test samples", fontsize=10)
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="lower right", framealpha=0.9)
    figure.savefig(path, format="png", dpi=110)
