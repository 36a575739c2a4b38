"""How many samples one call takes, so that large images do not fill the memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

__all__ = ["samples_at_once"]

_LARGEST_CALL = 1 << 21
"""Numbers of all inputs of a call: 13 images of 3 x 224 x 224. What a network makes of them is tens of times as many."""


def samples_at_once(feeds: Mapping[str, NDArray[Any]], count: int, most: int) -> int:
    """As many of ``count`` samples as one call takes, at least one and at most ``most``."""
    numbers = sum(array.size for array in feeds.values())
    return max(1, min(most, _LARGEST_CALL * max(1, count) // max(1, numbers)))
