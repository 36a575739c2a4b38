"""The demo's figures as one picture: size, accuracy and time, float32 beside integers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .demo import Row

__all__ = ["draw"]

FLOAT, INTEGER = "#9aa5b1", "#2b6cb0"


def draw(rows: list[Row], path: Path) -> None:
    """Write a PNG with one group of bars a network and one panel a figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = (
        (
            "ONNX file, kB",
            [row.bytes_float32 / 1000 for row in rows],
            [row.bytes_integer / 1000 for row in rows],
            "{:.0f}",
        ),
        (
            "accuracy, %",
            [100 * row.accuracy_float for row in rows],
            [100 * row.accuracy_integer for row in rows],
            "{:.2f}",
        ),
        (
            "µs a step",
            [row.us_per_step_float or 0 for row in rows],
            [row.us_per_step_integer or 0 for row in rows],
            "{:.1f}",
        ),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(13, 1.4 + 0.5 * len(rows)), sharey=True, layout="constrained")
    places = range(len(rows))
    for axis, (title, floats, integers, form) in zip(axes, panels, strict=True):
        for offset, values, colour, label in ((-0.2, floats, FLOAT, "float32"), (0.2, integers, INTEGER, "integer")):
            bars = axis.barh([place + offset for place in places], values, 0.38, color=colour, label=label)
            axis.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=8)
        _tidy(axis, title, [*floats, *integers], logarithmic=not title.startswith("accuracy"))
    axes[0].set_yticks(list(places), [row.name for row in rows])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    compared = sum(row.compared_integers for row in rows)
    differing = sum(row.mismatched_integers for row in rows)
    figure.suptitle(
        f"{differing} of {compared:,} integers differ between reference, bodies and onnxruntime", fontsize=11
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _tidy(axis: Any, title: str, values: list[float], *, logarithmic: bool) -> None:
    """Sizes and times of networks lie three powers of ten apart: bars of equal scale would show the largest alone."""
    axis.set_title(f"{title} (logarithmic)" if logarithmic else title, fontsize=10)
    positive = [value for value in values if value > 0]
    if logarithmic and positive:
        axis.set_xscale("log")
        axis.set_xlim(min(positive) / 2, 4 * max(positive))
    else:
        axis.set_xlim(0, 1.18 * max(values))
    axis.margins(y=0.01)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
