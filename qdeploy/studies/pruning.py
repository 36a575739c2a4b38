"""Pruned networks, real and quaternion: accuracy against the weights that are left, in float and as integers.

A configuration and its quaternion (or real) counterpart are pruned iteratively, as ``qdeploy.models.pruning`` does it, and
what every iteration left is judged: the float network, and its integer form with the bytes of its file. The picture is the
published one's (Iqbal and Mishra, "Neural Networks at a Fraction with Pruned Quaternions", 2023), with a second panel
against bytes: a quaternion network begins at a quarter of the real one's weights.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.quantize import Recipe, load_recipe
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies.judged import FloatForm, IntegerForm, judge_float, judge_integer
from qdeploy.studies.subject import Subject
from qdeploy.studies.variants import train_variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from qdeploy.models.config import TrainingConfig

__all__ = ["ITERATIONS", "PruningReport", "draw", "run", "write"]

ITERATIONS = 20
"""Cuts of a fifth each: 1.2 % of the weights are left."""

SEEDS = (0,)

_QUATERNION = "quaternion-"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """What one iteration of one training left.

    Attributes:
        network: the configuration's name.
        seed: of the initial weights and the order of samples.
        iteration: how often weights were cut.
        weights: of the whole network, biases aside.
        remaining: how many of them are left.
        float_form: the float network.
        integer_form: its integer form.
    """

    network: str
    seed: int
    iteration: int
    weights: int
    remaining: int
    float_form: FloatForm
    integer_form: IntegerForm


@dataclass(frozen=True)
class PruningReport:
    """The study's table.

    Attributes:
        data: the task.
        samples: of the test set that answers are judged on.
        epochs: of an iteration, by network.
        part: of the remaining weights, what a cut takes.
        recipe: of the integer forms.
        rows: by network, iteration, seed.
    """

    data: str
    samples: int
    epochs: dict[str, int]
    part: float
    recipe: str
    rows: tuple[Row, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of all trainings."""
        return tuple(sorted({row.seed for row in self.rows}))

    def groups(self) -> Iterator[tuple[str, int, list[Row]]]:
        """Rows that differ in their seed alone, with network and iteration."""
        for network in dict.fromkeys(row.network for row in self.rows):
            for iteration in sorted({row.iteration for row in self.rows if row.network == network}):
                yield (
                    network,
                    iteration,
                    [row for row in self.rows if (row.network, row.iteration) == (network, iteration)],
                )

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        return asdict(self)

    def cells(self) -> list[tuple[str, ...]]:
        """A line for each network and iteration, means over seeds: for people and for the table in Markdown."""
        table: list[tuple[str, ...]] = []
        for network, _, rows in self.groups():
            integers = [row.integer_form for row in rows]
            table.append(
                (
                    network,
                    f"{rows[0].remaining:,}",
                    f"{100 * rows[0].remaining / rows[0].weights:.1f} %",
                    f"{_mean([100 * row.float_form.accuracy for row in rows]):.2f} %",
                    f"{_mean([100 * form.accuracy for form in integers]):.2f} %",
                    f"{_mean([form.disagreements for form in integers]):.0f}",
                    f"{_mean([form.bytes for form in integers]):,.0f}",
                    f"{_mean([form.weight_bytes for form in integers]):,.0f}",
                )
            )
        return table

    def lines(self) -> list[str]:
        """For people."""
        table = [_HEADINGS, *self.cells()]
        widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
        lines = [self.title(), ""]
        lines += [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        ]
        compared = sum(row.integer_form.compared for row in self.rows)
        differing = sum(row.integer_form.differing for row in self.rows)
        return [*lines, "", f"{differing} of {compared:,} integers differ between numpy and onnxruntime"]

    def markdown(self) -> str:
        """The table for a page."""
        rows = [_HEADINGS, ("---", *("---:" for _ in _HEADINGS[1:])), *self.cells()]
        return f"{self.title()}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)

    def title(self) -> str:
        """What was trained and judged."""
        epochs = " and ".join(dict.fromkeys(str(count) for count in self.epochs.values()))
        seeds = ", ".join(map(str, self.seeds))
        return (
            f"{self.data}, {self.samples:,} test samples; {100 * self.part:g} % of the remaining weights an iteration, "
            f"{epochs} epochs each, seed {seeds}; recipe {self.recipe}"
        )


_HEADINGS = ("network", "weights left", "of all", "float", "integer", "disagree", "model.onnx", "of it weights")


def run(
    config: str | Path,
    folder: Path,
    *,
    twin: str | Path | None = None,
    iterations: int = ITERATIONS,
    seeds: Sequence[int] = SEEDS,
    epochs: int | None = None,
    recipe: str | Path | Recipe = "default",
    limit: int | None = None,
    progress: Progress | None = None,
) -> PruningReport:
    """Prunes ``config`` and its counterpart, and judges every iteration.

    Args:
        config: a training configuration of linear and convolution layers.
        folder: where the trainings go, one folder each; what is there already goes on or is taken as it is.
        twin: the other network of the picture; by default the configuration of the same name with ``quaternion-`` before
            it, or without, where there is one.
        iterations: how often weights are cut, 1 and more.
        seeds: a training for each.
        epochs: of an iteration, instead of the configurations'.
        recipe: of the integer forms.
        limit: judge on at most so many test samples.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: no iterations or seeds; a twin that trains on another data set.
        UnsupportedModelError: a recurrent network.
    """
    from qdeploy.models.config import load_config
    from qdeploy.models.pruning import iteration_name

    if iterations < 1 or not seeds:
        raise InvalidInputError(f"{iterations} iterations and {len(seeds)} seeds; expected at least one of each")
    base = load_config(config)
    bases = [base, *_twins(base, twin)]
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    rows: list[Row] = []
    samples = 0
    for network in bases:
        for seed in seeds:
            variant = _variant(network, seed, iterations, epochs)
            train_variant(variant, folder, _said(progress, variant.name))
            for iteration in range(iterations + 1):
                if progress:
                    progress(f"judging {variant.name}", iteration, iterations + 1)
                name = iteration_name(variant.name, iteration)
                checkpoint = folder / variant.name / name / f"{name}.safetensors"
                subject = Subject.load(checkpoint, network.dataset, limit)
                samples = len(subject.labels)
                rows.append(_judged(network.name, checkpoint, subject, chosen))
            if progress:
                progress(f"judging {variant.name}", iterations + 1, iterations + 1)
    ordered = sorted(rows, key=lambda row: ([b.name for b in bases].index(row.network), row.iteration, row.seed))
    counts = {network.name: epochs or network.epochs for network in bases}
    return PruningReport(base.dataset, samples, counts, base.pruning_part, chosen.name, tuple(ordered))


def _twins(base: TrainingConfig, twin: str | Path | None) -> list[TrainingConfig]:
    from qdeploy.models.config import config_names, load_config

    if twin is None:
        name = base.name
        other = name.removeprefix(_QUATERNION) if name.startswith(_QUATERNION) else _QUATERNION + name
        return [load_config(other)] if other in config_names() else []
    found = load_config(twin)
    if found.dataset != base.dataset:
        raise InvalidInputError(
            f"{found.name} trains on {found.dataset}, {base.name} on {base.dataset}: a picture has one data set"
        )
    return [found]


def _variant(base: TrainingConfig, seed: int, iterations: int, epochs: int | None) -> TrainingConfig:
    return dataclasses.replace(
        base,
        name=f"{base.name}-seed{seed}",
        description=f"{base.description}, pruned",
        seed=seed,
        epochs=epochs or base.epochs,
        pruning_iterations=iterations,
    )


def _said(progress: Progress | None, name: str) -> Callable[[str, float], None] | None:
    """A training's progress as a study's: in thousandths, for the words change with every batch."""
    if progress is None:
        return None
    told = progress
    return lambda words, done: told(f"training {name}", round(1000 * done), 1000) if words else None


def _judged(network: str, checkpoint: Path, subject: Subject, recipe: Recipe) -> Row:
    described = json.loads(checkpoint.with_suffix(".json").read_text(encoding="utf-8"))
    record = described["pruning"]
    return Row(
        network=network,
        seed=described["seed"],
        iteration=record["iteration"],
        weights=record["weights"],
        remaining=record["remaining"],
        float_form=judge_float(subject),
        integer_form=judge_integer(subject, recipe, recipe.name),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def write(report: PruningReport, folder: Path) -> list[Path]:
    """Writes ``pruning.json``, ``pruning.md`` and ``pruning.png`` into ``folder``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, page, picture = folder / "pruning.json", folder / "pruning.md", folder / "pruning.png"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    page.write_text(report.markdown(), encoding="utf-8")
    draw(report, picture)
    return [table, page, picture]


def draw(report: PruningReport, path: Path) -> None:
    """A PNG at ``path``: accuracy against the weights left, and against the bytes of the integer file; lines are means."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    most = max(row.weights for row in report.rows)
    for index, network in enumerate(dict.fromkeys(row.network for row in report.rows)):
        groups = [rows for name, _, rows in report.groups() if name == network]
        integers = [[100 * row.integer_form.accuracy for row in rows] for rows in groups]
        floats = [_mean([100 * row.float_form.accuracy for row in rows]) for rows in groups]
        remaining = [100 * rows[0].remaining / most for rows in groups]
        sizes = [_mean([row.integer_form.bytes / 1000 for row in rows]) for rows in groups]
        colour = f"C{index}"
        left.plot(remaining, floats, color=colour, linestyle=":", marker="o", markersize=3.5, markerfacecolor="none")
        for axes, places in ((left, remaining), (right, sizes)):
            axes.plot(places, [_mean(found) for found in integers], color=colour, marker="o", markersize=3.5)
            axes.fill_between(
                places, [min(found) for found in integers], [max(found) for found in integers], color=colour, alpha=0.15
            )
        left.plot([], [], color=colour, label=f"{network}, integer ({report.recipe})", marker="o", markersize=3.5)
        left.plot([], [], color=colour, linestyle=":", marker="o", markerfacecolor="none", label=f"{network}, float")
    _finish(left, "weights left, % of the larger network's", (100, 50, 25, 10, 5, 2, 1, 0.5, 0.2))
    _finish(right, "integer model.onnx, kB", (500, 200, 100, 50, 20, 10, 5))
    # From the most to the least, as networks are pruned.
    left.invert_xaxis()
    right.invert_xaxis()
    accuracies = [100 * row.integer_form.accuracy for row in report.rows]
    # What has fallen to guesses would flatten all that is of interest.
    left.set_ylim(max(min(accuracies) - 0.5, max(accuracies) - 12), max(accuracies) + 0.4)
    left.set_ylabel("accuracy, %")
    left.legend(fontsize=8, loc="lower left", framealpha=0.9)
    figure.suptitle(report.title(), fontsize=9)
    figure.savefig(path, format="png", dpi=110)


def _finish(axes: Axes, label: str, ticks: Sequence[float]) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(label)
    axes.grid(visible=True, which="major", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
