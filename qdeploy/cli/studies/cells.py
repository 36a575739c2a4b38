"""``qdeploy study cells``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import folder_option, limit_option, recipe_option, tell


@click.command("cells")
@click.argument("model")
@recipe_option
@limit_option
@folder_option("Folder for the table and the picture.")
@common_options
def command(model: str, recipe: str, limit: int | None, folder: Path | None, output: Output) -> None:
    """A shipped recurrent network, all that were trained on the data set MODEL, or "all", at three settings.

    \b
    qdeploy study cells all -o study
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import cells
    from qdeploy.studies.drawing import check_can_draw

    if folder is not None:
        check_can_draw()
    with progress_bars(output) as progress:
        report = cells.run(model, recipe=recipe, limit=limit, progress=progress)
    tell(output, report, cells.write(report, folder) if folder else [])
