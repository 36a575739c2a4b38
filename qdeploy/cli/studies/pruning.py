"""``qdeploy study pruning``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import epochs_option, folder_option, limit_option, numbers, recipe_option, tell


@click.command("pruning")
@click.argument("config")
@click.option(
    "--twin", metavar="CONFIG", help="The other network.  [default: CONFIG with quaternion- before it, or without]"
)
@click.option("--iterations", type=click.IntRange(1), help="How often weights are cut.  [default: 20]")
@click.option("--seeds", callback=numbers, help="A training for each, comma separated.  [default: 0]")
@epochs_option
@recipe_option
@limit_option
@folder_option("Folder for the trainings, the table and the picture.", required=True)
@common_options
def command(
    config: str,
    twin: str | None,
    iterations: int | None,
    seeds: tuple[int, ...] | None,
    epochs: int | None,
    recipe: str,
    limit: int | None,
    folder: Path,
    output: Output,
) -> None:
    """The network of the training configuration CONFIG and its counterpart, real and quaternion, pruned step by step.

    \b
    qdeploy study pruning lenet300-mnist --epochs 8 -o study
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import pruning
    from qdeploy.studies.drawing import check_can_draw

    check_can_draw()
    with progress_bars(output) as progress:
        report = pruning.run(
            config,
            folder,
            twin=twin,
            iterations=iterations or pruning.ITERATIONS,
            seeds=seeds or pruning.SEEDS,
            epochs=epochs,
            recipe=recipe,
            limit=limit,
            progress=progress,
        )
    tell(output, report, pruning.write(report, folder))
