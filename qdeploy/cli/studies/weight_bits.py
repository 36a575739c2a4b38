"""``qdeploy study weight-bits``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import (
    epochs_option,
    folder_option,
    limit_option,
    names,
    numbers,
    recipe_option,
    tell,
)


@click.command("weight-bits")
@click.argument("config")
@click.option("--bits", callback=numbers, help="Comma separated.  [default: 3,4,5,6,8]")
@click.option("--twin", metavar="MODEL", help="The float network beside.  [default: where CONFIG begins]")
@click.option(
    "--method",
    "methods",
    callback=names,
    help="Of bjorck, projunn-d, projunn-t, comma separated.  [default: all three]",
)
@epochs_option
@recipe_option
@limit_option
@folder_option("Folder for the trainings, the table and the picture.", required=True)
@common_options
def command(
    config: str,
    bits: tuple[int, ...] | None,
    twin: str | None,
    methods: tuple[str, ...] | None,
    epochs: int | None,
    recipe: str,
    limit: int | None,
    folder: Path,
    output: Output,
) -> None:
    """How many bits weights need: the training configuration CONFIG is trained for each number of them.

    \b
    qdeploy study weight-bits qornn-smnist -o study
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import weight_bits
    from qdeploy.studies.drawing import check_can_draw

    check_can_draw()
    with progress_bars(output) as progress:
        report = weight_bits.run(
            config,
            folder,
            twin=twin,
            bits=bits or weight_bits.BITS,
            methods=methods,
            epochs=epochs,
            recipe=recipe,
            limit=limit,
            progress=progress,
        )
    tell(output, report, weight_bits.write(report, folder))
