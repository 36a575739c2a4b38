"""Texts as sequences of characters, each of which a network predicts from those before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidInputError

from .text import penn_treebank, read_text
from .vocabulary import ASCII, Vocabulary

__all__ = ["SPLITS", "STEPS", "CharacterSet", "from_files", "python_topics", "sequences"]

STEPS = 128
"""Characters a sequence. Each begins at the zero state, so that its first characters are predicted with little context."""

SPLITS = ("train", "valid", "test")
TENTHS = 10

_Tokens = NDArray[np.uint8]


@dataclass(frozen=True)
class CharacterSet:
    """A text in three parts, as indices of a vocabulary.

    Attributes:
        vocabulary: what the indices mean.
        train, valid, test: uint8 [characters].
    """

    vocabulary: Vocabulary
    train: _Tokens
    valid: _Tokens
    test: _Tokens

    def split(self, name: str) -> tuple[_Tokens, _Tokens]:
        """``sequences`` of one part."""
        tokens: _Tokens = {"train": self.train, "valid": self.valid, "test": self.test}[name]
        return sequences(tokens)


def sequences(tokens: _Tokens, steps: int = STEPS) -> tuple[_Tokens, _Tokens]:
    """Sequences ``x`` [N, steps] and the characters after each of theirs, ``y`` [N, steps], one after the other.

    The rest of a text that does not fill a sequence is left out. Indices are uint8 in both.

    Raises:
        InvalidInputError: not even one sequence.
    """
    count = (len(tokens) - 1) // steps
    if count < 1:
        raise InvalidInputError(
            f"a part of a text has {len(tokens)} characters, expected more than {steps}: of a single text a tenth is "
            f"for testing, which needs {TENTHS * (steps + 1)} characters; give more text"
        )
    used = count * steps
    return tokens[:used].reshape(count, steps), tokens[1 : used + 1].reshape(count, steps)


def from_files(paths: Iterable[str | Path], vocabulary: Vocabulary | None = None) -> CharacterSet:
    """The texts of files, or of one folder of Penn Treebank's files.

    Of plain text files, put together in the order given, the last tenth is the test part and the tenth before it the
    held-out part. Penn Treebank's files are these parts already.

    Args:
        paths: text files, or one folder.
        vocabulary: of the model; by default that of the training part.

    Raises:
        InvalidInputError: no path, or a folder among several; too little text.
        InvalidFileError, MissingDataError: as ``read_text`` and ``penn_treebank``.
    """
    given = [Path(path) for path in paths]
    if any(path.is_dir() for path in given):
        if len(given) > 1:
            raise InvalidInputError(f"{len(given)} paths with a folder among them: expected text files, or one folder")
        parts = penn_treebank(given[0])
    else:
        text = "\n".join(read_text(path) for path in given)
        tenth = len(text) // TENTHS
        begin = len(text) - 2 * tenth
        parts = {"train": text[:begin], "valid": text[begin : begin + tenth], "test": text[begin + tenth :]}
    return _numbered(parts, vocabulary)


def python_topics(vocabulary: Vocabulary | None = None) -> CharacterSet:
    """The help texts that come with Python (module ``pydoc_data.topics``): 370,000 characters about the language.

    A paragraph that several topics have is taken once. Its SHA-256 says in which part a paragraph is, a tenth for
    testing and a tenth held out, so that no paragraph of a test was ever trained on, whatever other paragraphs
    another release of Python has. The vocabulary is ASCII by default, for the same reason.
    """
    from pydoc_data.topics import topics

    paragraphs = "\n\n".join(topics[name].strip("\n") for name in sorted(topics)).split("\n\n")
    parts: dict[str, list[str]] = {name: [] for name in SPLITS}
    for paragraph in dict.fromkeys(paragraphs):
        tenth = hashlib.sha256(paragraph.encode()).digest()[0] % TENTHS
        parts[{0: "test", 1: "valid"}.get(tenth, "train")].append(paragraph)
    return _numbered({name: "\n\n".join(found) for name, found in parts.items()}, vocabulary or ASCII)


def _numbered(parts: dict[str, str], vocabulary: Vocabulary | None) -> CharacterSet:
    known = Vocabulary.from_text(parts["train"]) if vocabulary is None else vocabulary
    return CharacterSet(known, *(known.encode(parts[name]) for name in SPLITS))
