"""Options that several studies have, and how a study ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qdeploy.cli.options import Output, Report

__all__ = [
    "data_option",
    "epochs_option",
    "folder_option",
    "limit_option",
    "names",
    "numbers",
    "recipe_option",
    "tell",
    "time_axis_option",
]


def numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Comma separated numbers of an option, as a callback of click."""
    del context, parameter
    if value is None:
        return None
    words = [name.strip() for name in value.split(",")]
    if not all(name.isdecimal() for name in words):
        raise click.BadParameter(f"{value!r}; expected numbers with commas between, such as 6,8,12")
    return tuple(int(name) for name in words)


def names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Comma separated names of an option, as a callback of click."""
    del context, parameter
    return None if value is None else tuple(name.strip() for name in value.split(","))


recipe_option = click.option("--recipe", default="default", show_default=True, help="For all that is not studied.")
limit_option = click.option("--limit", type=click.IntRange(1), help="Use at most this many test samples.")
epochs_option = click.option("--epochs", type=click.IntRange(1), help="Instead of the configurations'.")
time_axis_option = click.option("--time-axis", type=int, help="Axis of time in the input.")
data_option = click.option(
    "--data", metavar="DATA", help="A data set's name, or an .npz with x and y; else the checkpoint's own."
)


def folder_option(help_text: str, *, required: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``-o``, the folder that the study writes into."""
    return click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=required, help=help_text)


def tell(output: Output, report: Report, written: Sequence[Path]) -> None:
    """Prints the report and the paths of its files."""
    output.report(report)
    for path in written:
        output.say(f"written: {path}")
