"""``qdeploy board remove``."""

from __future__ import annotations

import click

from ..options import Output, common_options


@click.command("remove")
@common_options
def command(output: Output) -> int:
    """Take all that `qdeploy board setup` made out of the cache folder."""
    from qdeploy.boards.cache import cache_folder
    from qdeploy.boards.setup import remove_boards

    freed = remove_boards()
    if output.json:
        output.dump({"folder": str(cache_folder()), "freed_bytes": freed})
    else:
        output.say(f"freed {freed / 1e6:.0f} MB of {cache_folder()}")
    return 0
