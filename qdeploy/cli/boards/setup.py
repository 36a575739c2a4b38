"""``qdeploy board setup``."""

from __future__ import annotations

import click

from ..options import Output, common_options
from ..progress import progress_bars


@click.command("setup")
@click.argument("board", metavar="[BOARD]", required=False)
@click.option("--force", is_flag=True, help="Make it anew where it is there already.")
@common_options
def command(board: str | None, force: bool, output: Output) -> int:
    """Make the arm64 Python with onnxruntime that BOARD (pi-zero2, pi3, pi4, pi5) runs; one serves them all.

    Debian's packages come by apt-get from this machine's own package sources, wheels by pip; nothing is installed and no root is
    needed. It is kept in the user's cache folder.
    """
    from qdeploy.boards.sysroot import board_processor, setup_sysroot

    if board is not None:
        board_processor(board)
    with progress_bars(output) as progress:
        output.report(setup_sysroot(force=force, progress=progress))
    return 0
