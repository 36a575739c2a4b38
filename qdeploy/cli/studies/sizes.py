"""``qdeploy study sizes``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import epochs_option, folder_option, limit_option, numbers, recipe_option, tell


@click.command("sizes")
@click.argument("data")
@click.option("--bits", callback=numbers, help="Of orthogonal networks' weights.  [default: 3,4,5,6,7,8]")
@click.option("--hidden", callback=numbers, help="Hidden units of each cell.  [default: 32]")
@epochs_option
@recipe_option
@limit_option
@folder_option("Folder for the trainings, the table and the picture.", required=True)
@common_options
def command(
    data: str,
    bits: tuple[int, ...] | None,
    hidden: tuple[int, ...] | None,
    epochs: int | None,
    recipe: str,
    limit: int | None,
    folder: Path,
    output: Output,
) -> None:
    """Accuracy against bytes: every recurrent configuration of the data set DATA is trained in several sizes.

    \b
    qdeploy study sizes sequential-digits -o study
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import sizes
    from qdeploy.studies.drawing import check_can_draw

    check_can_draw()
    with progress_bars(output) as progress:
        report = sizes.run(
            data,
            folder,
            hidden=hidden or sizes.HIDDEN,
            bits=bits or sizes.BITS,
            epochs=epochs,
            recipe=recipe,
            limit=limit,
            progress=progress,
        )
    tell(output, report, sizes.write(report, folder))
