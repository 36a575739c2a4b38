"""Cells against each other on one task: accuracy against the bytes of the file, in float and as integers.

Every training configuration of a data set is trained at several hidden sizes. Orthogonal networks have one size; those
whose recurrent weight is a float twin's, rounded, are trained at several bits of the weights instead (what learning it on
the grid gives at each is the study ``weight_bits``). All are judged in float and as integers: the quantized orthogonal ones
on their own grid, the others with weights of 8 and of 4 bits rounded after training.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from qdeploy.listing import listing
from qdeploy.quantize import Recipe, load_recipe
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies.cells import cell_name
from qdeploy.studies.judged import FloatForm, IntegerForm, judge_float, judge_integer
from qdeploy.studies.subject import Subject
from qdeploy.studies.variants import train_variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

    from qdeploy.models.config import TrainingConfig

__all__ = ["BITS", "HIDDEN", "SizesReport", "draw", "run", "write"]

BITS = (3, 4, 5, 6, 7, 8)
"""k, of orthogonal networks that round a float twin."""
HIDDEN = (32,)
ROUNDED_BITS = (8, 4)
"""Of weights that are rounded after training."""

_STYLES: dict[str, tuple[str, Literal[":", "-", "--"], bool]] = {
    "float32": ("o", ":", False),
    "8-bit weights": ("o", "-", True),
    "4-bit weights": ("v", "--", True),
    "trained on a grid": ("s", "-", True),
}
"""Marker, line and whether the marker is filled."""

LOWEST = 55
"""Percent: a picture down to guesses would not tell the good networks apart."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One trained network.

    Attributes:
        name: of the training.
        cell: ``gru``, ``lstm``, …; of an orthogonal RNN its activation as well.
        hidden_size: H.
        trained_bits: k of the grid that it was trained on, or ``None``.
        float_form: the float network; of one trained on a grid, its weights in float32.
        forms: its integer forms.
    """

    name: str
    cell: str
    hidden_size: int
    trained_bits: int | None
    float_form: FloatForm
    forms: tuple[IntegerForm, ...]


@dataclass(frozen=True)
class SizesReport:
    """The study's table.

    Attributes:
        data: the task.
        recipe: gives states, activations and multipliers.
        rows: by cell, then size.
    """

    data: str
    recipe: str
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        width = max(len(row.cell) for row in self.rows)
        lines = [
            f"{self.data}: {self.rows[0].float_form.answers:,} answers, recipe {self.recipe}",
            "",
            f"{'cell':{width}}  units  float: accuracy    bytes   integer: W/state   accuracy disagree    bytes  of them weights",
        ]
        for row in self.rows:
            begin = (
                f"{row.cell:{width}} {row.hidden_size:6} {100 * row.float_form.accuracy:14.2f} % "
                f"{row.float_form.bytes:8,}"
            )
            for form in row.forms:
                # A weight trained on a grid is marked as ``inspect`` marks it.
                bits = f"{form.weight_bits}{'=' if row.trained_bits else ''}/{form.state_bits}"
                lines.append(
                    f"{begin} {bits:>18} {100 * form.accuracy:8.2f} % {form.disagreements:8,} "
                    f"{form.bytes:8,} {form.weight_bytes:16,}"
                )
                begin = " " * len(begin)
        forms = [form for row in self.rows for form in row.forms]
        compared, differing = sum(form.compared for form in forms), sum(form.differing for form in forms)
        lines += ["", "= trained on the grid of so many bits; other weights are rounded after training"]
        lines.append(f"{differing} of {compared:,} integers differ between numpy and onnxruntime")
        return lines


def run(
    data: str,
    folder: Path,
    *,
    hidden: Sequence[int] = HIDDEN,
    bits: Sequence[int] = BITS,
    epochs: int | None = None,
    recipe: str | Path | Recipe = "default",
    limit: int | None = None,
    progress: Progress | None = None,
) -> SizesReport:
    """Trains every recurrent configuration of ``data`` in its sizes, and judges all.

    Args:
        data: a data set's name. Configurations whose values are those of a shipped checkpoint are not trained again.
        folder: where the trainings go, one folder each; what is there already goes on or is taken as it is.
        hidden: H of cells that can have any.
        bits: k of orthogonal networks that round a float twin's weight, each 2 to 8.
        epochs: instead of the configurations'.
        recipe: gives states, activations and multipliers.
        limit: judge on at most so many test samples.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: no recurrent configuration trains on ``data``; sizes or bits that cannot be.
    """
    from qdeploy.models.config import config_names, load_config

    if not hidden or min(hidden) < 1:
        raise InvalidInputError(f"hidden sizes {list(hidden)}; expected numbers of at least 1")
    if not bits or not all(2 <= k <= 8 for k in bits):
        raise InvalidInputError(f"weight bits {list(bits)}; expected numbers of 2 to 8")
    configs = [config for config in map(load_config, config_names()) if "hidden_size" in config.hyperparameters]
    bases = [config for config in configs if config.dataset == data]
    if not bases:
        known = ", ".join(sorted({config.dataset for config in configs}))
        raise InvalidInputError(f"{data!r}: no recurrent network is trained on it; expected one of {known}")
    base_recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    plan = [variant for base in bases for variant in _variants(base, hidden, bits, epochs)]
    rows = []
    for done, config in enumerate(plan):
        if progress:
            progress("networks", done, len(plan))
        subject = Subject.load(_checkpoint(config, folder), data, limit)
        rows.append(_row(config, subject, base_recipe))
    if progress:
        progress("networks", len(plan), len(plan))
    order = [config.name for config in plan]
    ordered = sorted(rows, key=lambda row: (row.cell, row.hidden_size, row.trained_bits or 0, order.index(row.name)))
    return SizesReport(data, base_recipe.name, tuple(ordered))


def _variants(
    base: TrainingConfig, hidden: Sequence[int], bits: Sequence[int], epochs: int | None
) -> list[TrainingConfig]:
    if epochs is not None:
        base = dataclasses.replace(base, epochs=epochs)
    if "cell" in base.hyperparameters:
        changes = [(f"h{size}", {"hidden_size": size}) for size in hidden]
    elif base.recurrent_rounding is not None:
        changes = [(f"k{k}", {"weight_bits": k}) for k in bits]
    else:
        return [base]
    return [
        dataclasses.replace(
            base,
            name=f"{base.name}-{suffix}",
            description=f"{base.name} with {change}",
            hyperparameters={**base.hyperparameters, **change},
        )
        for suffix, change in changes
    ]


def _checkpoint(config: TrainingConfig, folder: Path) -> str | Path:
    """A shipped checkpoint that was trained by the same values, or a training's."""
    from qdeploy.models.config import parse_config

    for entry in listing("models"):
        if entry.details["shipped"] and config.name.startswith(entry.name):
            trained = parse_config(entry.details["config"], entry.name)
            if dataclasses.replace(trained, name=config.name, description=config.description) == config:
                return entry.name
    return train_variant(config, folder)


def _row(config: TrainingConfig, subject: Subject, recipe: Recipe) -> Row:
    trained = config.hyperparameters.get("weight_bits")
    bits = ROUNDED_BITS if trained is None else (trained,)
    return Row(
        name=config.name,
        cell=cell_name(config.hyperparameters),
        hidden_size=config.hyperparameters["hidden_size"],
        trained_bits=trained,
        float_form=judge_float(subject),
        # A trained grid keeps its bits, whatever the recipe says.
        forms=tuple(judge_integer(subject, recipe.changed(weight_bits=k), f"{k}-bit weights") for k in bits),
    )


def write(report: SizesReport, folder: Path) -> list[Path]:
    """Writes ``sizes.json`` and ``sizes.png`` into ``folder``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "sizes.json", folder / "sizes.png"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    draw(report, picture)
    return [table, picture]


def draw(report: SizesReport, path: Path) -> None:
    """A PNG at ``path``: accuracy against the bytes of the file, and against those of its weights."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(11.5, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    colours = {cell: f"C{index}" for index, cell in enumerate(dict.fromkeys(row.cell for row in report.rows))}
    for (cell, kind), points in _lines(report).items():
        marker, style, filled = _STYLES[kind]
        face = colours[cell] if filled else "none"
        for axes, sizes in zip(panels, ([p[0] for p in points], [p[1] for p in points]), strict=True):
            accuracies = [max(point[2], LOWEST) for point in points]
            axes.plot(
                sizes,
                accuracies,
                color=colours[cell],
                marker=marker,
                linestyle=style,
                markerfacecolor=face,
                linewidth=1.1,
            )
            _label(axes, list(zip(sizes, accuracies, [p[3] for p in points], [p[2] for p in points], strict=True)))
    for axes, title in zip(panels, ("bytes of the ONNX file", "bytes of its weights"), strict=True):
        axes.set_xscale("log")
        axes.set_xlabel(title)
        axes.grid(visible=True, which="both", alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy, %")
    panels[0].set_ylim(LOWEST - 1, 100.5)
    answers = report.rows[0].float_form.answers
    figure.suptitle(
        f"{report.data}, {answers:,} test samples; numbers: hidden units, or bits of the weights; under {LOWEST} % at the edge",
        fontsize=10,
    )
    handles = [Line2D([], [], color=colour, linewidth=2, label=cell) for cell, colour in colours.items()]
    handles += [
        Line2D(
            [],
            [],
            color="black",
            marker=marker,
            linestyle=style,
            markerfacecolor="black" if filled else "none",
            label=kind,
        )
        for kind, (marker, style, filled) in _STYLES.items()
    ]
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, format="png", dpi=110)


def _label(axes: Axes, points: Sequence[tuple[int, float, str, float]]) -> None:
    """Writes the labels of a line; points that lie upon each other share one."""
    placed: list[tuple[int, float, Annotation]] = []
    for size, shown, label, accuracy in points:
        text = label if accuracy >= LOWEST or not label else f"{label}: {accuracy:.0f} %"
        near = next((found for x, y, found in placed if abs(x - size) < 0.05 * size and abs(y - shown) < 0.8), None)
        if near is not None:
            near.set_text(", ".join(part for part in (near.get_text(), text) if part))
            continue
        written = axes.annotate(
            text, (size, shown), xytext=(0, 5), textcoords="offset points", fontsize=6.5, ha="center"
        )
        placed.append((size, shown, written))


def _lines(report: SizesReport) -> dict[tuple[str, str], list[tuple[int, int, float, str]]]:
    """By cell and form: bytes of the file, bytes of the weights, accuracy in percent, label."""
    lines: dict[tuple[str, str], list[tuple[int, int, float, str]]] = {}
    for row in report.rows:
        label = f"k={row.trained_bits}" if row.trained_bits else str(row.hidden_size)
        forms: list[tuple[str, FloatForm | IntegerForm, str]] = [("float32", row.float_form, "")]
        forms += [("trained on a grid" if row.trained_bits else form.setting, form, label) for form in row.forms]
        for kind, form, text in forms:
            point = (form.bytes, form.weight_bytes, 100 * form.accuracy, text)
            lines.setdefault((row.cell, kind), []).append(point)
    return lines
