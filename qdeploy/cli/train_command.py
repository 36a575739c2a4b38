"""``qdeploy train``: one of the models, from a small named configuration."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from .options import Output, common_options


@click.command("train")
@click.argument("config")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for checkpoint, metrics and curve.",
)
@click.option("--resume/--restart", default=True, show_default=True, help="Go on from the folder's state, or anew.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs, instead of the configuration's.")
@click.option("--seed", type=click.IntRange(0), help="Seed, instead of the configuration's.")
@click.option(
    "--data",
    metavar="PATH",
    multiple=True,
    help="Text file of a character model's training, several times too, or a folder with Penn Treebank's three files.",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, cuda:N or auto.")
@common_options
def command(
    config: str,
    folder: Path,
    resume: bool,
    epochs: int | None,
    seed: int | None,
    data: tuple[str, ...],
    device: str,
    output: Output,
) -> None:
    """Train CONFIG: the name of a configuration (`qdeploy list models`), or a JSON file of one.

    An interrupted training goes on where it stopped when the same command is given again.

    Several processes share a training when torchrun starts them:

    \b
    torchrun --nproc-per-node 2 -m qdeploy train CONFIG -o DIR
    """  # noqa: D301 - click's mark for a paragraph that keeps its lines
    from qdeploy.training import is_first_process, train

    visible = sys.stderr.isatty() and not output.quiet
    report = train(config, folder, resume=resume, epochs=epochs, seed=seed, data=data, device=device, progress=visible)
    if not is_first_process():
        return
    if output.json:
        output.dump(asdict(report))
    elif not output.quiet:
        best = report.best
        click.echo(f"checkpoint      {report.checkpoint}")
        click.echo(f"epochs          {report.epochs}, best {best.epoch}")
        click.echo(f"train accuracy  {best.train_accuracy:.4f}")
        click.echo(f"test accuracy   {best.test_accuracy:.4f}")
        if best.test_bits is not None:
            known = report.references
            click.echo(
                f"test bits       {best.test_bits:.3f} per character; counting gives {known['unigram_bits_per_character']:.3f} "
                f"from single characters and {known['bigram_bits_per_character']:.3f} from pairs"
            )
