"""``qdeploy board``: what emulated boards need, made once."""

from __future__ import annotations

import click

from .lazy_group import LazyGroup

BOARD_COMMANDS = {
    "list": "List the boards, how each is emulated, and what is missing.",
    "setup": "Make the Pythons that boards run, once.",
    "remove": "Take them away.",
}
"""Name -> the line that the help shows; a command lives in ``boards/<name>.py``."""


@click.group(
    "board",
    cls=LazyGroup,
    lines=BOARD_COMMANDS,
    module="qdeploy.cli.boards.{}",
    subcommand_metavar="COMMAND [OPTIONS] ...",
)
def command() -> None:
    """Prepare emulated boards; `qdeploy verify BUNDLE --board NAME` then runs on them."""
