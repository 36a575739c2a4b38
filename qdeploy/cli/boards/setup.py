"""``qdeploy board setup``."""

from __future__ import annotations

import click

from ..options import Output, common_options
from ..progress import progress_bars


@click.command("setup")
@click.argument("board", metavar="[BOARD]", required=False)
@click.option("--litert/--no-litert", default=True, show_default=True, help="LiteRT too.")
@click.option("--force", is_flag=True, help="Make it anew where it is there already.")
@common_options
def command(board: str | None, litert: bool, force: bool, output: Output) -> int:
    """Make what BOARD (pi-zero2, pi2, pi3, pi4, pi5) runs besides C; all of it when no board is named.

    An arm64 Python with onnxruntime and LiteRT serves the boards of 64 bits, an armhf Python with tflite-runtime those of 32.
    What is there already is kept.

    Debian's packages come by apt-get from this machine's own package sources, wheels by pip; nothing is installed and no root is
    needed. It is kept in the user's cache folder.
    """
    from qdeploy.boards.setup import setup_boards

    with progress_bars(output) as progress:
        output.report(setup_boards(board, litert=litert, force=force, progress=progress))
    return 0
