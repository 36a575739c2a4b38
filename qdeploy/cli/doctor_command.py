"""``qdeploy doctor``: what can this machine run?"""

from __future__ import annotations

import click

from .options import Output, common_options


@click.command("doctor")
@common_options
def command(output: Output) -> None:
    """Say what this machine can run, what is missing, and how to get it."""
    from qdeploy.doctor import examine

    output.report(examine())
