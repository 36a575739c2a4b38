"""Every shipped quaternion network in one table: what the compact form saves and the recipes cost, beside the expanded network.

The expanded network has its quaternion matrices as real ones, as other tools know them. It is counted in float32, as integers of
the default recipe (the same bits, four times the weights) and as onnxruntime's ``quantize_static`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qdeploy.evaluation import load_samples, run_float
from qdeploy.exporter import CALIBRATION_SAMPLES
from qdeploy.listing import Entry, listing
from qdeploy.quantize import load_recipe
from qdeploy.static_quantization import quantized_statically
from qdeploy.studies.judged import FloatForm, IntegerForm, judge_float, judge_integer
from qdeploy.studies.shipped import ALL, judge_shipped
from qdeploy.studies.subject import Subject, loss_of

__all__ = ["ALL", "FORMS", "QuaternionReport", "run", "write"]


FORMS = {"default": ("default", "compact"), "w7a8": ("w7a8", "compact"), "expanded": ("default", "expanded")}
"""Recipe and storage of our own forms, by the name in the table."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class StaticForm:
    """The expanded network as ``quantize_static`` writes it.

    Attributes:
        accuracy: the part of answers that are right.
        disagreements: answers that are not the float network's.
        bytes: of the file.
    """

    accuracy: float
    disagreements: int
    bytes: int


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: of the shipped checkpoint.
        data: what it is judged on, the test part of the set that it was trained on.
        float_form: the float network; its bytes are the expanded network's.
        forms: ours, in the order of ``FORMS``.
        static: onnxruntime's.
    """

    name: str
    data: str
    float_form: FloatForm
    forms: tuple[IntegerForm, ...]
    static: StaticForm

    @property
    def of_expanded(self) -> float:
        """The default file's size over that of the same integers with real matrices."""
        sizes = {form.setting: form.bytes for form in self.forms}
        return sizes["default"] / sizes["expanded"]

    @property
    def of_float(self) -> float:
        """The default file's size over that of the expanded float network."""
        return self.forms[0].bytes / self.float_form.bytes


@dataclass(frozen=True)
class QuaternionReport:
    """The study's table.

    Attributes:
        limit: at most so many test samples each.
        rows: by data set, then name.
        missing: networks whose data are not on this machine.
    """

    limit: int | None
    rows: tuple[Row, ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        plain = asdict(self)
        for entry, row in zip(plain["rows"], self.rows, strict=True):
            entry |= {"of_expanded": row.of_expanded, "of_float": row.of_float}
        return plain

    def lines(self) -> list[str]:
        """For people."""
        width = max(len(row.name) for row in self.rows)
        lines = [f"{'network':{width}}  form             accuracy  disagree        bytes  of float32"]
        for row in self.rows:
            whole = row.float_form
            lines.append(f"{row.name:{width}}  {'float32':15} {_cells(whole.accuracy, None, whole.bytes, whole.bytes)}")
            lines += [
                f"{'':{width}}  {form.setting:15} {_cells(form.accuracy, form.disagreements, form.bytes, whole.bytes)}"
                for form in row.forms
            ]
            static = row.static
            cells = _cells(static.accuracy, static.disagreements, static.bytes, whole.bytes)
            lines.append(f"{'':{width}}  {'quantize_static':15} {cells}")
            lines.append(
                f"{'':{width}}  {whole.answers:,} answers on {row.data}; default is {row.of_expanded:.1%} of expanded"
            )
        forms = [form for row in self.rows for form in row.forms]
        compared, differing = sum(form.compared for form in forms), sum(form.differing for form in forms)
        lines += ["", f"{differing} of {compared:,} integers differ between numpy and onnxruntime"]
        if self.missing:
            lines.append(f"left out, their data are not here (qdeploy doctor): {', '.join(self.missing)}")
        return lines


def run(which: str = ALL, *, limit: int | None = None, progress: Progress | None = None) -> QuaternionReport:
    """Judges shipped quaternion networks in every form.

    Args:
        which: ``all``, a data set's name for the networks that were trained on it, or one network's name.
        limit: at most so many test samples each.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: nothing of that name is quaternion and shipped, or no data are here.
    """
    known = [entry for entry in listing("models") if entry.details["shipped"] and is_quaternion(entry.details)]
    rows, missing = judge_shipped(known, which, "quaternion", lambda entry: _row(entry, limit), progress)
    return QuaternionReport(limit, tuple(rows), missing)


def is_quaternion(details: Mapping[str, Any]) -> bool:
    """Whether an architecture with these hyper-parameters has quaternion layers."""
    hyperparameters = details["hyperparameters"]
    names = (details["architecture"], hyperparameters.get("kind"), hyperparameters.get("cell"))
    return any(str(name).startswith("quaternion") for name in names)


def write(report: QuaternionReport, folder: Path) -> list[Path]:
    """Writes ``quaternion.json`` into ``folder``, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "quaternion.json"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    return [table]


def _row(entry: Entry, limit: int | None) -> Row:
    data = entry.details["dataset"]
    subject = Subject.load(entry.name, None, limit)
    return Row(
        name=entry.name,
        data=data,
        float_form=judge_float(subject),
        forms=tuple(
            judge_integer(subject, load_recipe(recipe), name, storage=storage)
            for name, (recipe, storage) in FORMS.items()
        ),
        static=_judge_static(subject, data),
    )


def _judge_static(subject: Subject, data: str) -> StaticForm:
    captured = subject.captured
    samples = captured.arrange(load_samples(data, "train", CALIBRATION_SAMPLES).named(captured))
    model = quantized_statically(captured.model, samples, {spec.name: spec.batch_axis for spec in captured.inputs})
    logits = run_float(model, subject.feeds(), captured)[captured.outputs[0]]
    disagreements = int((logits.argmax(axis=-1) != subject.float_logits().argmax(axis=-1)).sum())
    return StaticForm(loss_of(logits, subject.labels).accuracy, disagreements, len(model.SerializeToString()))


def _cells(accuracy: float, disagreements: int | None, size: int, whole: int) -> str:
    """A line of the table from the column of the accuracy on."""
    count = "" if disagreements is None else f"{disagreements:,}"
    return f"{100 * accuracy:8.2f} % {count:>9} {size:12,}  {size / whole:9.1%}"
