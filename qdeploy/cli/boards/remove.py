"""``qdeploy board remove``."""

from __future__ import annotations

import click

from ..options import Output, common_options


@click.command("remove")
@common_options
def command(output: Output) -> int:
    """Take the arm64 Python that `qdeploy board setup` made out of the cache folder."""
    from qdeploy.boards.sysroot import cache_folder, remove_sysroot

    freed = remove_sysroot()
    if output.json:
        output.dump({"folder": str(cache_folder()), "freed_bytes": freed})
    else:
        output.say(f"freed {freed / 1e6:.0f} MB of {cache_folder()}")
    return 0
