"""The command line: parses, calls and prints. One file a command, imported when the command is named."""

from .group import main

__all__ = ["main"]
