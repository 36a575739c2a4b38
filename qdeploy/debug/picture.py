"""The error of every layer over time, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

if TYPE_CHECKING:
    from .report import DebugReport

__all__ = ["draw"]

COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#718096")


def draw(report: DebugReport, path: Path) -> None:
    """Writes a PNG: above, each tensor's relative error at every step; below, what share of its layer saturated.

    Raises:
        InvalidInputError: a network without time steps, or a place that cannot be written.
        MissingRequirementError: matplotlib is not installed.
    """
    if not report.steps:
        raise InvalidInputError(f"{report.bundle}: has no time steps to draw; the table says what each layer costs")
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingRequirementError(
            "matplotlib is not installed, which draws pictures; install it with: pip install matplotlib"
        ) from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (errors, saturated) = plt.subplots(
        2, 1, figsize=(9, 6), sharex=True, layout="constrained", height_ratios=(2, 1)
    )
    for index, steps in enumerate(report.steps):
        look = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": "-" if index < len(COLOURS) else "--",
            "linewidth": 1.2,
        }
        known = [(step + 1, 100 * value) for step, value in steps.known if value > 0]
        if known:
            errors.plot(*zip(*known, strict=True), label=f"{steps.layer}: {steps.tensor}", **look)
        if any(steps.saturated):
            saturated.plot(
                range(1, len(steps.saturated) + 1),
                [100 * share for share in steps.saturated],
                label=steps.tensor,
                **look,
            )
    errors.set_yscale("log")
    errors.set_ylabel("relative error, %")
    errors.set_title(f"{report.samples} samples, integers against {report.float_source}", fontsize=10)
    saturated.set_ylabel("saturated, %")
    saturated.set_xlabel("time step")
    saturated.set_ylim(bottom=0)
    for axis in (errors, saturated):
        _tidy(axis)
    errors.legend(fontsize=8, frameon=False)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        plt.close(figure)


def _tidy(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.grid(visible=True, axis="y", linewidth=0.3)
