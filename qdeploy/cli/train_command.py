"""``qdeploy train``: one of the models, from a small named configuration."""

from __future__ import annotations

from pathlib import Path

import click

from .options import Output, common_options
from .progress import progress_bars


@click.command("train")
@click.argument("config")
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), help="Folder for checkpoint, metrics and curve."
)
@click.option("--resume", is_flag=True, help="Go on from the folder's last state.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs, instead of the configuration's.")
@click.option("--seed", type=click.IntRange(0), help="Seed, instead of the configuration's.")
@common_options
def command(
    config: str, folder: Path | None, resume: bool, epochs: int | None, seed: int | None, output: Output
) -> None:
    """Train CONFIG: a name from `qdeploy list models`, or a JSON file."""
    from qdeploy.training import train

    with progress_bars(output) as progress:
        report = train(config, folder, resume=resume, epochs=epochs, seed=seed, progress=progress)
    output.report(report)
