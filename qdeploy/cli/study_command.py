"""``qdeploy study``: what a choice of quantization costs, on a trained network and its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdeploy.studies import STUDIES

from .options import Output, common_options
from .progress import progress_bars

if TYPE_CHECKING:
    from qdeploy.studies.ptq import PtqReport
    from qdeploy.studies.state_bits import StateBitsReport


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    del context, parameter
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    if not all(name.isdecimal() for name in names):
        raise click.BadParameter(f"{value!r}; expected numbers with commas between, such as 6,8,12")
    return tuple(int(name) for name in names)


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    del context, parameter
    return None if value is None else tuple(name.strip() for name in value.split(","))


@click.command("study")
@click.argument("study", type=click.Choice(list(STUDIES)))
@click.argument("model")
@click.option("--bits", callback=_numbers, help="Comma separated. [state-bits: 6,8,10,12,16; ptq: 3,4,5,6,8]")
@click.option(
    "--state-range", "rules", callback=_names, help="state-bits: rules to compare, comma separated; all four."
)
@click.option("--trained", metavar="MODEL", multiple=True, help="ptq: a network trained on the grid; several times.")
@click.option("--data", metavar="DATA", help="A data set's name, or an .npz with x and y; else the checkpoint's own.")
@click.option("--recipe", default="default", show_default=True, help="For all that is not studied.")
@click.option("--time-axis", type=int, help="Axis of time in the input.")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many test samples.")
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), help="Folder for the table and the picture.")
@common_options
def command(
    study: str,
    model: str,
    bits: tuple[int, ...] | None,
    rules: tuple[str, ...] | None,
    trained: tuple[str, ...],
    data: str | None,
    recipe: str,
    time_axis: int | None,
    limit: int | None,
    folder: Path | None,
    output: Output,
) -> None:
    """Measure what a choice of quantization costs MODEL, a recurrent network.

    state-bits: loss, accuracy and the state's error over time, by bits of the state and rule for its range.
    ptq: weights of a float network quantized after training, beside networks trained on the grid.

    \b
    qdeploy study state-bits qornn-copy -o study
    qdeploy study ptq ornn-digits --trained qornn-digits
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    if study == "ptq" and rules is not None:
        raise click.UsageError("--state-range belongs to state-bits")
    if study == "state-bits" and trained:
        raise click.UsageError("--trained belongs to ptq")
    from qdeploy.studies import ptq, state_bits

    if folder is not None and study == "state-bits":
        state_bits.check_can_draw()
    written: list[Path] = []
    report: PtqReport | StateBitsReport
    with progress_bars(output) as progress:
        if study == "ptq":
            weights = ptq.run(
                model,
                trained=trained,
                data=data,
                bits=bits or ptq.BITS,
                recipe=recipe,
                limit=limit,
                time_axis=time_axis,
                progress=progress,
            )
            report, written = weights, ptq.write(weights, folder) if folder else written
        else:
            states = state_bits.run(
                model,
                data=data,
                bits=bits or state_bits.BITS,
                rules=rules or state_bits.RULES,
                recipe=recipe,
                limit=limit,
                time_axis=time_axis,
                progress=progress,
            )
            report, written = states, state_bits.write(states, folder) if folder else written
    output.report(report)
    for path in written:
        output.say(f"written: {path}")
