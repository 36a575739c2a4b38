"""``qdeploy board list``."""

from __future__ import annotations

import click

from ..options import Output, common_options


@click.command("list")
@common_options
def command(output: Output) -> int:
    """List the boards, how each is emulated, which runtimes it has, and what is missing here."""
    from qdeploy.boards.overview import overview

    output.report(overview())
    return 0
