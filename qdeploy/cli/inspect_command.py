"""``qdeploy inspect``: what is in a bundle?"""

from __future__ import annotations

import click

from .options import Output, bundle_argument, common_options


@click.command("inspect")
@bundle_argument
@common_options
def command(bundle: str, output: Output) -> None:
    """Show BUNDLE's operators, bits, bytes against float, multiply-accumulates, memory and accumulator head-room."""
    import qdeploy

    output.report(qdeploy.load(bundle).inspect())
