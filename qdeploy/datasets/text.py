"""Text files, and the text of Penn Treebank's language modelling files in both of their forms."""

from __future__ import annotations

import re
from pathlib import Path

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingDataError

__all__ = ["MAX_TEXT_BYTES", "penn_treebank", "read_text"]

# Penn Treebank's training file has 5 MB. One byte of text becomes one byte of tokens, so that this stays harmless.
MAX_TEXT_BYTES = 64 << 20

_SPLITS = ("train", "valid", "test")
_CHARACTER_FILE = re.compile(r"(^|\.)char\.")


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, lines ended by line feeds, without a byte order mark.

    A file with ``char.`` in its name (``ptb.char.train.txt``) holds one character a word and ``_`` for a blank, as T.
    Mikolov's character-level files of Penn Treebank do; its text is put together. In ``ptb.train.txt`` the words are
    separated by blanks and a line is a sentence, which is its text already. Blanks around lines are left out in both,
    so that the two files give the same text.

    Raises:
        InvalidFileError: not a file, larger than 64 MiB, empty, or not UTF-8.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidFileError(f"{file}: no such file; expected a text file, or a folder of Penn Treebank's files")
    with file.open("rb") as stream:
        content = stream.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise InvalidFileError(f"{file}: more than {MAX_TEXT_BYTES} bytes; give a part of it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidFileError(
            f"{file}: not UTF-8: byte {content[error.start]:#04x} at offset {error.start} (line {line}); convert it, as with "
            f"iconv -f LATIN1 -t UTF-8"
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _CHARACTER_FILE.search(file.name):
        text = "\n".join("".join(line.split()).replace("_", " ").strip(" ") for line in text.split("\n"))
    elif file.name.startswith("ptb."):
        text = "\n".join(line.strip(" ") for line in text.split("\n"))
    if not text.strip():
        raise InvalidFileError(f"{file}: holds no text")
    return text


def penn_treebank(folder: str | Path) -> dict[str, str]:
    """The texts of ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``, or of ``ptb.char.*.txt``, by split.

    Raises:
        InvalidInputError: both forms are in the folder: which one is meant?
        MissingDataError: not all three files of one form are there.
        InvalidFileError: as ``read_text``.
    """
    place = Path(folder)
    forms = {
        form: {split: place / f"{form}.{split}.txt" for split in _SPLITS}
        for form in ("ptb", "ptb.char")
        if (place / f"{form}.train.txt").is_file()
    }
    if len(forms) > 1:
        raise InvalidInputError(
            f"{place}: holds ptb.*.txt and ptb.char.*.txt; give a folder with one of the two, for their text is the same"
        )
    for files in forms.values():
        lacking = [path.name for path in files.values() if not path.is_file()]
        if not lacking:
            return {split: read_text(path) for split, path in files.items()}
        raise MissingDataError(f"{place}: {', '.join(lacking)} is not there; Penn Treebank's files are three")
    raise MissingDataError(
        f"{place}: expected Penn Treebank's files ptb.train.txt, ptb.valid.txt, ptb.test.txt (or ptb.char.train.txt and so "
        "on); of other texts give the files themselves"
    )
