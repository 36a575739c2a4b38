"""How many bits a recurrent state needs: loss, and the state's error over time, for every number of bits and every rule.

The error at step t is the mean over sequences and units of |scale (h_int - zero_point) - h_float|, both networks running
by themselves from a zero state: what the integer loop adds at each step is carried on by its orthogonal W.

Source of the figures beside ours: Foucault, Mamalet, Malgouyres, arXiv 2402.04012, measured with their code on the copy
task of 1000 steps, k = 6, 256 units, modReLU.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.datasets.copy_task import SYMBOLS
from qdeploy.quantize import IntegerModel, Recipe, load_recipe, quantize
from qdeploy.runtime.errors import InvalidInputError
from qdeploy.studies.subject import Loss, Subject, first_recurrent

__all__ = ["BITS", "RULES", "StateBitsReport", "draw", "run", "write"]

BITS = (6, 8, 10, 12, 16)
RULES = ("minmax", "percentile", "mse", "power-of-two")

STATE_SAMPLES = 100
"""Sequences over which the state's error is averaged."""

AUTHORS = {None: 9.2e-5, 6: 0.73, 8: 0.030, 10: 3.9e-4, 12: 1.07e-4}
"""The authors' test cross-entropy by bits of the state; None: in float."""

COPIED_SYMBOLS = 8
"""The copy task's symbols are uniform on so many."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One integer form of the network.

    Attributes:
        bits: of the state.
        rule: for its range.
        state_range: what the largest integer means.
        saturated_share: the part of calibration's states beyond it.
        cross_entropy, accuracy: on the test samples.
        ratio: the cross-entropy over the float network's.
        state_error: the mean error of the state at each step, ``[T]``.
        compared, differing: integers that reference and onnxruntime both computed, and those that differ.
    """

    bits: int
    rule: str
    state_range: float
    saturated_share: float
    cross_entropy: float
    accuracy: float
    ratio: float
    state_error: tuple[float, ...]
    compared: int
    differing: int


@dataclass(frozen=True)
class StateBitsReport:
    """The study's table.

    Attributes:
        model, data: what was studied, on what.
        samples, steps: of the test.
        state_samples: sequences over which the state's error is averaged.
        float_loss: of the float network.
        mean_state: the mean |h_float| over the same sequences and all steps.
        memoryless: the cross-entropy of an answer that knows the time but remembers nothing: 10 ln 8 / T; copy task only.
        rows: by bits, then rule.
    """

    model: str
    data: str
    samples: int
    steps: int
    state_samples: int
    float_loss: Loss
    mean_state: float
    memoryless: float | None
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json`` and the file."""
        return asdict(self) | {"authors": {"float" if k is None else str(k): v for k, v in AUTHORS.items()}}

    def lines(self) -> list[str]:
        """For people."""
        copy = self.memoryless is not None
        lines = [
            (
                f"{self.model} on {self.data}: {self.samples:,} test sequences of {self.steps} steps, "
                f"{self.float_loss.answers:,} answers"
            ),
            f"float: cross-entropy {self.float_loss.cross_entropy:.3g}, accuracy {100 * self.float_loss.accuracy:.3f} %"
            + (f"; without memory 10 ln 8 / {self.steps} = {self.memoryless:.3g}" if copy else ""),
            f"state error: mean over {self.state_samples} sequences; the mean state is {self.mean_state:.3g}",
            "",
            "bits  rule          range  saturated  cross-entropy   / float   accuracy  state error: mean  last step"
            + ("   authors'  / float" if copy else ""),
        ]
        for row in self.rows:
            line = (
                f"{row.bits:4}  {row.rule:12}{row.state_range:7.4g} {100 * row.saturated_share:8.3f} % {row.cross_entropy:14.3g} "
                f"{row.ratio:9.3g} {100 * row.accuracy:8.3f} % {np.mean(row.state_error):18.3g} {row.state_error[-1]:10.3g}"
            )
            theirs = AUTHORS.get(row.bits)
            if copy and theirs is not None:
                line += f" {theirs:10.3g} {theirs / AUTHORS[None]:8.3g}"
            lines.append(line)
        compared = sum(row.compared for row in self.rows)
        lines += [
            "",
            f"{sum(row.differing for row in self.rows)} of {compared:,} integers differ between numpy and onnxruntime",
        ]
        return lines


def run(
    model: str | Path = "qornn-copy",
    *,
    data: str | None = None,
    bits: Sequence[int] = BITS,
    rules: Sequence[str] = RULES,
    recipe: str | Path | Recipe = "default",
    limit: int | None = None,
    time_axis: int | None = None,
    progress: Progress | None = None,
) -> StateBitsReport:
    """Exports ``model`` with every number of bits and every rule, and judges each on labelled data.

    Args:
        model: a recurrent network, as ``qdeploy export`` takes it.
        data: see ``Subject.load``.
        bits: of the state, each 2 to 16.
        rules: of ``RULES``.
        recipe: for all that is not studied.
        limit: at most so many test sequences.
        time_axis: of the input, as ``qdeploy export`` takes it.
        progress: called as (stage, done, total).

    Raises:
        InvalidInputError: no recurrent layer, no labels, or a rule that is none.
    """
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown or not rules or not bits:
        raise InvalidInputError(
            f"state ranges {unknown or list(rules)}, bits {list(bits)}; expected some of {', '.join(RULES)}."
        )
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    subject = Subject.load(model, data, limit, time_axis=time_axis)
    reference = subject.float_loss()
    states = _float_states(subject)
    rows = []
    for done, (count, rule) in enumerate((count, rule) for count in bits for rule in rules):
        if progress:
            progress("state bits", done, len(bits) * len(rules))
        chosen = base.changed(state_bits=count, state_range=rule)
        integers = quantize(subject.captured.model, subject.statistics, chosen)
        layer = first_recurrent(integers)
        loss = subject.integer_loss(integers)
        compared, differing = subject.compare_engines(integers)
        rows.append(
            Row(
                bits=count,
                rule=rule,
                state_range=layer["state_largest_integer_means"],
                saturated_share=layer["state_saturated_share"],
                cross_entropy=loss.cross_entropy,
                accuracy=loss.accuracy,
                ratio=loss.cross_entropy / reference.cross_entropy if reference.cross_entropy else math.inf,
                state_error=_state_error(subject, integers, states),
                compared=compared,
                differing=differing,
            )
        )
    steps = len(states)
    return StateBitsReport(
        model=subject.name,
        data=subject.test.source,
        samples=len(subject.labels),
        steps=steps,
        state_samples=states.shape[1],
        float_loss=reference,
        mean_state=float(np.abs(states).mean()),
        memoryless=SYMBOLS * math.log(COPIED_SYMBOLS) / steps if subject.test.source == "copy" else None,
        rows=tuple(rows),
    )


def write(report: StateBitsReport, folder: Path) -> list[Path]:
    """Writes ``state_bits.json`` and ``state_bits.png`` into ``folder``, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "state_bits.json", folder / "state_bits.png"
    table.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    draw(report, picture)
    return [table, picture]


def draw(report: StateBitsReport, path: Path) -> None:
    """A PNG at ``path``: the state's error over time, a panel for each rule and a line for each number of bits."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rules = list(dict.fromkeys(row.rule for row in report.rows))
    columns = min(2, len(rules))
    figure = Figure(figsize=(5.2 * columns, 0.6 + 3.3 * math.ceil(len(rules) / columns)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(math.ceil(len(rules) / columns), columns, sharex=True, sharey=True, squeeze=False).flat
    for axes, rule in zip(panels, rules, strict=False):
        for index, row in enumerate(row for row in report.rows if row.rule == rule):
            label = f"{row.bits} bits: loss {row.cross_entropy:.2g}"
            axes.plot(range(1, report.steps + 1), row.state_error, color=f"C{index}", linewidth=1.3, label=label)
        axes.set_yscale("log")
        axes.set_title(f"state range by {rule}", fontsize=10)
        axes.grid(visible=True, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7, loc="lower right", framealpha=0.9)
    figure.supxlabel("time step", fontsize=9)
    figure.supylabel("mean |scale · h − h of the float network|", fontsize=9)
    figure.suptitle(
        f"{report.model}: error of the integer state over {report.steps} steps; float loss "
        f"{report.float_loss.cross_entropy:.2g}, mean |h| {report.mean_state:.2g}",
        fontsize=10,
    )
    figure.savefig(path, format="png", dpi=110)


def _float_states(subject: Subject) -> NDArray[np.float32]:
    """The states of the first recurrent layer ``[T, N, H]`` on the first test sequences."""
    from qdeploy.capture.session import FloatSession

    shown, name = _with_states(subject)
    states: NDArray[np.float32] = FloatSession(shown).run(subject.feeds(STATE_SAMPLES))[name]
    return states


def _with_states(subject: Subject) -> tuple[onnx.ModelProto, str]:
    from qdeploy.capture.exposure import expose

    model = onnx.ModelProto()
    model.CopyFrom(subject.captured.model)
    node = next((node for node in model.graph.node if node.op_type == "RNN"), None)
    if node is None:
        raise InvalidInputError(f"{subject.name} has no recurrent layer, which this study is about.")
    if not node.output[0]:
        node.output[0] = f"{node.output[1]}/states"
    return expose(model, [node.output[0]]), node.output[0]


def _state_error(subject: Subject, integers: IntegerModel, states: NDArray[np.float32]) -> tuple[float, ...]:
    """The mean of |h_int scale - h_float| at every step."""
    from qdeploy.export.onnx.expose import expose
    from qdeploy.runtime.engines import open_engine

    shown = expose(integers.model)
    node = next(node for node in shown.graph.node if node.op_type.startswith("RNN"))
    found = open_engine("onnxruntime", shown).run(subject.integers(integers, subject.feeds(STATE_SAMPLES)))
    state = integers.graph.states[0].type
    real = (found[node.output[0]].astype(np.float64) - state.zero_point) * state.scale
    return tuple(float(error) for error in np.abs(real - states).mean(axis=(1, 2)))
