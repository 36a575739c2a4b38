"""The characters that a character model knows, numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["ASCII", "MAX_CHARACTERS", "UNKNOWN", "Vocabulary"]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands at index 0 for every character that a vocabulary has not."""

MAX_CHARACTERS = 256
"""With the unknown one: tokens are bytes."""


@dataclass(frozen=True)
class Vocabulary:
    """The characters by index; the first is ``UNKNOWN``.

    Raises:
        InvalidInputError: no list of different single characters, 2 to 256 of them, that begins with ``UNKNOWN``.
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        # What a JSON file holds may be anything.
        found: tuple[Any, ...] = self.characters
        single = all(isinstance(character, str) and len(character) == 1 for character in found)
        if not single or not 2 <= len(found) <= MAX_CHARACTERS or len(set(found)) != len(found) or found[0] != UNKNOWN:
            raise InvalidInputError(
                f"vocabulary of {len(found)} entries: expected 2 to {MAX_CHARACTERS} different single characters, the first "
                f"of them U+FFFD, which stands for all others"
            )

    def __len__(self) -> int:
        return len(self.characters)

    @classmethod
    def from_text(cls, text: str) -> Vocabulary:
        """The characters of ``text`` in the order of their code points; of more than 255 the most frequent ones.

        A character that a text has once or twice is unknown: a network learns nothing of it, and so the unknown
        character occurs in the text.
        """
        counts = Counter(text)
        counts.pop(UNKNOWN, None)
        kept = [character for character, count in counts.most_common(MAX_CHARACTERS - 1) if count > 2]
        if not kept:
            raise InvalidInputError(
                f"a text of {len(text)} characters: no character occurs in it more than twice; give a longer text"
            )
        return cls((UNKNOWN, *sorted(kept)))

    @classmethod
    def from_json(cls, value: Any) -> Vocabulary:
        """From the list that stands in a checkpoint's JSON or in a bundle's manifest."""
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InvalidInputError(f"vocabulary is {type(value).__name__}, expected a list of characters")
        return cls(tuple(value))

    def encode(self, text: str) -> NDArray[np.uint8]:
        """Indices [len(text)]; 0 for characters that are not in the vocabulary."""
        points = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
        known = np.array([ord(character) for character in self.characters], np.uint32)
        order = np.argsort(known)
        places = np.searchsorted(known, points, sorter=order).clip(max=len(known) - 1)
        indices = order[places]
        return np.where(known[indices] == points, indices, 0).astype(np.uint8)

    def decode(self, indices: Sequence[int] | NDArray[Any]) -> str:
        """The text of indices [N]."""
        return "".join(self.characters[int(index)] for index in indices)

    def one_hot(self, indices: NDArray[Any]) -> NDArray[np.float32]:
        """Rows [..., V] with a single 1 each, of indices [...]."""
        rows: NDArray[np.float32] = np.eye(len(self), dtype=np.float32)[indices]
        return rows


ASCII = Vocabulary((UNKNOWN, "\n", *(chr(point) for point in range(32, 127))))
"""Printable ASCII and the end of a line: the same on every machine."""
