"""``qdeploy study ptq``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import (
    data_option,
    folder_option,
    limit_option,
    numbers,
    recipe_option,
    tell,
    time_axis_option,
)


@click.command("ptq")
@click.argument("model")
@click.option("--bits", callback=numbers, help="Comma separated.  [default: 3,4,5,6,8]")
@click.option("--trained", metavar="MODEL", multiple=True, help="A network trained on the grid; several times.")
@data_option
@recipe_option
@time_axis_option
@limit_option
@folder_option("Folder for the table.")
@common_options
def command(
    model: str,
    bits: tuple[int, ...] | None,
    trained: tuple[str, ...],
    data: str | None,
    recipe: str,
    time_axis: int | None,
    limit: int | None,
    folder: Path | None,
    output: Output,
) -> None:
    """Weights of the float network MODEL quantized after training, beside networks trained on the grid.

    \b
    qdeploy study ptq ornn-digits --trained qornn-digits
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import ptq

    with progress_bars(output) as progress:
        report = ptq.run(
            model,
            trained=trained,
            data=data,
            bits=bits or ptq.BITS,
            recipe=recipe,
            limit=limit,
            time_axis=time_axis,
            progress=progress,
        )
    tell(output, report, ptq.write(report, folder) if folder else [])
