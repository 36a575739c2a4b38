"""A group of commands that are imported when they are called, so that the group's own help imports none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """Commands by name, each the object ``command`` of a module of its own."""

    def __init__(
        self,
        *args: Any,
        lines: Mapping[str, str],
        module: str,
        kind: str = "command",
        heading: str = "Commands",
        **kwargs: Any,
    ) -> None:
        """Knows its commands by name only.

        Args:
            lines: name -> the line that the group's help shows.
            module: where commands live, with ``{}`` for the name (dashes as underscores).
            kind, heading: what messages and the help call them.
        """
        super().__init__(*args, **kwargs)
        self.lines = dict(lines)
        self.module = module
        self.kind = kind
        self.heading = heading

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order that was given, not of the alphabet."""
        del ctx
        return list(self.lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module and returns its click command."""
        del ctx
        if cmd_name not in self.lines:
            return None
        command: click.Command = import_module(self.module.format(cmd_name.replace("-", "_"))).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table of commands without importing one."""
        del ctx
        with formatter.section(self.heading):
            formatter.write_dl(list(self.lines.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the commands that exist where the given one does not."""
        if args and args[0] not in self.lines and not args[0].startswith("-"):
            ctx.fail(f"no {self.kind} {args[0]!r}; there are {', '.join(self.lines)}")
        return super().resolve_command(ctx, args)
