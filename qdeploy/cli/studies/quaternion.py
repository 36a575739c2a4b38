"""``qdeploy study quaternion``."""

from __future__ import annotations

from pathlib import Path

import click

from qdeploy.cli.options import Output, common_options
from qdeploy.cli.progress import progress_bars
from qdeploy.cli.studies.options import folder_option, limit_option, tell


@click.command("quaternion")
@click.argument("model")
@limit_option
@folder_option("Folder for the table.")
@common_options
def command(model: str, limit: int | None, folder: Path | None, output: Output) -> None:
    """A shipped quaternion network, all that were trained on the data set MODEL, or "all": what the compact form saves.

    Recipes default and w7a8 stand beside the expanded network in float32, as integers, and as onnxruntime's quantize_static
    writes it.

    \b
    qdeploy study quaternion digits
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.studies import quaternion

    with progress_bars(output) as progress:
        report = quaternion.run(model, limit=limit, progress=progress)
    tell(output, report, quaternion.write(report, folder) if folder else [])
