"""``qdeploy study kinds``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import epochs_option, folder_option, tell


@click.command("kinds")
@click.argument("network")
@epochs_option
@folder_option("Folder for the trainings, the table and the picture.", required=True)
@common_options
def command(network: str, epochs: int | None, folder: Path, output: Output) -> None:
    """Accuracy against epochs and training speed of quaternion-NETWORK, real4-NETWORK and real3-NETWORK, which are trained.

    \b
    qdeploy study kinds conv2-cifar10 -o study
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import kinds
    from qdeploy.studies.drawing import check_can_draw

    check_can_draw()
    with progress_bars(output) as progress:
        report = kinds.run(network, folder, epochs=epochs, progress=progress)
    tell(output, report, kinds.write(report, folder))
