"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress"]


class Progress(Protocol):
    """Called now and then by work that may take over a second."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """``stage`` has come to ``done`` of ``total`` pieces."""
