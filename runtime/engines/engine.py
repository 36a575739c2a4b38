"""What an engine is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

__all__ = ["Array", "Engine"]

Array: TypeAlias = npt.NDArray[Any]


class Engine(Protocol):
    """Runs one integer model.

    ``run`` takes every graph input (states included) and gives every graph output, in the graph's order. It raises
    InvalidInputError for feeds that do not match the graph.
    """

    @property
    def name(self) -> str:
        """The name it was opened by."""
        ...

    @property
    def version(self) -> str:
        """The version of the package that computes."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once."""
        ...
