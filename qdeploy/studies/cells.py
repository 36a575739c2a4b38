"""Every shipped recurrent network in one table: what 8-bit states, 4-bit weights and the recommended setting cost it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.listing import Entry, listing
from qdeploy.quantize import Recipe, load_recipe
from qdeploy.studies.judged import FloatForm, IntegerForm, judge_float, judge_integer
from qdeploy.studies.shipped import ALL, judge_shipped
from qdeploy.studies.subject import Subject

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ALL", "SETTINGS", "CellsReport", "cell_name", "draw", "run", "write"]


SETTINGS: dict[str, dict[str, int]] = {
    "8-bit state": {"weight_bits": 8, "state_bits": 8},
    "4-bit weights": {"weight_bits": 4, "state_bits": 12},
    "recommended": {},
}
"""What changes in the recipe, by the setting's name. Weights that lie on a trained grid keep its bits."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: of the shipped checkpoint.
        cell: ``gru``, ``lstm``, …; of an orthogonal RNN its activation as well.
        hidden_size: H.
        data: what it is judged on, the test part of the set that it was trained on.
        float_form: the float network.
        forms: its integer forms, in the order of ``SETTINGS``.
    """

    name: str
    cell: str
    hidden_size: int
    data: str
    float_form: FloatForm
    forms: tuple[IntegerForm, ...]


@dataclass(frozen=True)
class CellsReport:
    """The study's table.

    Attributes:
        recipe: the recommended setting's name; the others are this one with other bits.
        limit: at most so many test samples each.
        rows: by data set, then name.
        missing: networks whose data are not on this machine.
    """

    recipe: str
    limit: int | None
    rows: tuple[Row, ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        width = max(len(row.name) for row in self.rows)
        lines = [
            f"{'network':{width}}  float           setting        W/state   accuracy  disagree    bytes  of float32"
        ]
        for row in self.rows:
            form = row.float_form
            lines.append(
                f"{row.name:{width}}  {100 * form.accuracy:6.2f} %        {row.cell}, {row.hidden_size} units, on {row.data}: "
                f"{form.answers:,} answers, {form.bytes:,} bytes"
            )
            lines += [f"{'':{width}}  {_cells(found, form)}" for found in row.forms]
        forms = [found for row in self.rows for found in row.forms]
        compared, differing = sum(found.compared for found in forms), sum(found.differing for found in forms)
        lines += [
            "",
            f"recommended: recipe {self.recipe}; 8-bit state: with weights of 8 bits; 4-bit weights: with a state of 12",
        ]
        lines.append(f"{differing} of {compared:,} integers differ between numpy and onnxruntime")
        if self.missing:
            lines.append(f"left out, their data are not here (qdeploy doctor): {', '.join(self.missing)}")
        return lines


def run(
    which: str = ALL,
    *,
    recipe: str | Path | Recipe = "default",
    limit: int | None = None,
    progress: Progress | None = None,
) -> CellsReport:
    """Judges shipped recurrent networks in float and at every setting.

    Args:
        which: ``all``, a data set's name for the networks that were trained on it, or one network's name.
        recipe: the recommended setting.
        limit: at most so many test samples each.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: nothing of that name is recurrent and shipped, or no data are here.
    """
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    rows, missing = judge_shipped(_recurrent(), which, "recurrent", lambda entry: _row(entry, base, limit), progress)
    return CellsReport(base.name, limit, tuple(rows), missing)


def cell_name(hyperparameters: Mapping[str, Any]) -> str:
    """The cell of an architecture with these hyper-parameters, for people."""
    if "cell" in hyperparameters:
        return str(hyperparameters["cell"])
    kind = "QORNN" if hyperparameters.get("weight_bits") else "ORNN"
    if str(hyperparameters.get("orthogonal")).endswith("hadamard"):
        kind = "HadamRNN"
    rounded = ", W rounded" if hyperparameters.get("orthogonal") == "none" else ""
    return f"{kind}, {hyperparameters.get('activation') or 'linear'}{rounded}"


def _cells(found: IntegerForm, form: FloatForm) -> str:
    """A line of the table from the column of the setting on."""
    return (
        f"                {found.setting:13} {found.weight_bits:>3}/{found.state_bits:<4} {100 * found.accuracy:8.2f} % "
        f"{found.disagreements:9,} {found.bytes:8,}  {found.bytes / form.bytes:9.1%} {found.weight_bytes:16,}"
    )


def write(report: CellsReport, folder: Path) -> list[Path]:
    """Writes ``cells.json`` and ``cells.png`` into ``folder``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "cells.json", folder / "cells.png"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    draw(report, picture)
    return [table, picture]


def draw(report: CellsReport, path: Path) -> None:
    """A PNG at ``path``: for each network the accuracy that each setting loses, and the sizes of its files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure = Figure(figsize=(10.5, 1.5 + 0.55 * len(report.rows)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    settings = list(dict.fromkeys(form.setting for row in report.rows for form in row.forms))
    height = 0.8 / (len(settings) + 1)
    for index, setting in enumerate(settings):
        places, lost, sizes = [], [], []
        for place, row in enumerate(report.rows):
            for form in row.forms:
                if form.setting == setting:
                    places.append(place - 0.4 + (index + 1.5) * height)
                    lost.append(100 * (row.float_form.accuracy - form.accuracy))
                    sizes.append(form.bytes / 1000)
        colour = f"C{index}"
        bars = left.barh(places, lost, 0.9 * height, color=colour, label=setting)
        left.bar_label(bars, [f"{value:.2f}" for value in lost], padding=3, fontsize=6)
        right.barh(places, sizes, 0.9 * height, color=colour)
    floats = [row.float_form.bytes / 1000 for row in report.rows]
    places = [place - 0.4 + 0.5 * height for place in range(len(report.rows))]
    right.barh(places, floats, 0.9 * height, color="#9aa5b1", label="float32")
    labels = [f"{row.name}\n{row.cell}, float {100 * row.float_form.accuracy:.2f} %" for row in report.rows]
    left.set_yticks(range(len(report.rows)), labels)
    left.set_ylim(len(report.rows) - 0.5, -0.6)
    # One network that fails would leave no room to tell the others apart.
    left.set_xscale("symlog", linthresh=2.0)
    left.set_xlim(min(0.0, left.get_xlim()[0]), max(2.0, 1.3 * left.get_xlim()[1]))
    right.set_xscale("log")
    smallest, largest = right.get_xlim()
    right.set_xticks([size for size in (5, 10, 20, 50, 100, 200, 500, 1000) if smallest <= size <= largest])
    for axis in (left.xaxis, right.xaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    _tidy(left, "points of accuracy lost (symmetric logarithm beyond 2)")
    _tidy(right, "ONNX file, kB")
    handles = [pair for axes in (right, left) for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    figure.legend(*zip(*handles, strict=True), loc="outside upper center", ncols=len(settings) + 1, frameon=False)
    figure.savefig(path, format="png", dpi=110)


def _tidy(axes: Axes, title: str) -> None:
    axes.set_xlabel(title, fontsize=9)
    axes.grid(visible=True, axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _recurrent() -> list[Entry]:
    """Shipped networks that read a sequence."""
    return [
        entry
        for entry in listing("models")
        if entry.details["shipped"] and entry.details.get("input", {}).get("time_axis") is not None
    ]


def _row(entry: Entry, base: Recipe, limit: int | None) -> Row:
    subject = Subject.load(entry.name, None, limit)
    return Row(
        name=entry.name,
        cell=cell_name(entry.details["hyperparameters"]),
        hidden_size=int(entry.details["hyperparameters"]["hidden_size"]),
        data=entry.details["dataset"],
        float_form=judge_float(subject),
        forms=tuple(judge_integer(subject, base.changed(**bits), setting) for setting, bits in SETTINGS.items()),
    )
