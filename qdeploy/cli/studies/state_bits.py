"""``qdeploy study state-bits``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import (
    data_option,
    folder_option,
    limit_option,
    names,
    numbers,
    recipe_option,
    tell,
    time_axis_option,
)


@click.command("state-bits")
@click.argument("model")
@click.option("--bits", callback=numbers, help="Comma separated.  [default: 6,8,10,12,16]")
@click.option("--state-range", "rules", callback=names, help="Rules to compare, comma separated.  [default: all four]")
@data_option
@recipe_option
@time_axis_option
@limit_option
@folder_option("Folder for the table and the picture.")
@common_options
def command(
    model: str,
    bits: tuple[int, ...] | None,
    rules: tuple[str, ...] | None,
    data: str | None,
    recipe: str,
    time_axis: int | None,
    limit: int | None,
    folder: Path | None,
    output: Output,
) -> None:
    """Loss, accuracy and the state's error over time of MODEL, by bits of the state and rule for its range.

    \b
    qdeploy study state-bits qornn-copy -o study
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import state_bits
    from qdeploy.studies.drawing import check_can_draw

    if folder is not None:
        check_can_draw()
    with progress_bars(output) as progress:
        report = state_bits.run(
            model,
            data=data,
            bits=bits or state_bits.BITS,
            rules=rules or state_bits.RULES,
            recipe=recipe,
            limit=limit,
            time_axis=time_axis,
            progress=progress,
        )
    tell(output, report, state_bits.write(report, folder) if folder else [])
