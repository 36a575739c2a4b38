"""``qdeploy inspect``: what is in a bundle?"""

from __future__ import annotations

import click

from .byte_size import byte_size
from .options import Output, bundle_argument, common_options


@click.command("inspect")
@bundle_argument
@click.option("--target", metavar="NAME", help="Show also what its C takes of this board's flash and RAM.")
@click.option(
    "--flash", metavar="SIZE", callback=byte_size, help="Flash that is there, as in 256K; the target's if not given."
)
@click.option(
    "--ram", metavar="SIZE", callback=byte_size, help="RAM that is there, as in 64K; the target's if not given."
)
@common_options
def command(bundle: str, target: str | None, flash: int | None, ram: int | None, output: Output) -> None:
    """Show BUNDLE's operators, bits, bytes against float, multiply-accumulates, memory and accumulator head-room."""
    import qdeploy

    output.report(qdeploy.load(bundle).inspect(target=target, flash=flash, ram=ram))
