"""``qdeploy list``: what is there, from the registries."""

from __future__ import annotations

import click

from .options import Output, common_options

KINDS = ("operators", "recipes", "runtimes", "targets", "models", "datasets")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@common_options
def command(kind: str, output: Output) -> None:
    """List operators, recipes, runtimes, targets of C, models or datasets."""
    from qdeploy.listing import listing

    entries = listing(kind)
    if output.json:
        output.dump([entry.to_dict() for entry in entries])
        return
    width = max((len(entry.name) for entry in entries), default=0)
    family = max((len(entry.family) for entry in entries), default=0)
    for entry in entries:
        middle = f"{entry.family:<{family}}  " if family else ""
        click.echo(f"{entry.name:<{width}}  {middle}{entry.description}".rstrip())
