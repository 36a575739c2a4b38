"""JSON files that describe a checkpoint, read key by key with errors that name the key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["MAX_BYTES", "JsonObject", "read_json"]

MAX_BYTES = 1 << 20


def read_json(path: str | Path) -> Any:
    """The value in a JSON file.

    Raises:
        InvalidFileError: no such file, larger than ``MAX_BYTES``, or no JSON.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidFileError(f"{file}: no such file; expected the JSON that describes a checkpoint")
    if file.stat().st_size > MAX_BYTES:
        raise InvalidFileError(f"{file}: {file.stat().st_size} bytes, expected a side-car of at most {MAX_BYTES}")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    # A ValueError is no JSON, no UTF-8, or an integer of more digits than Python reads.
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{file}: not a JSON file: {error}") from error


class JsonObject:
    """Typed reads of a JSON object; each raises ``InvalidFileError`` with the key, the value and what was expected."""

    def __init__(self, values: Any, source: str) -> None:
        """Takes the value of a JSON file, or of a part of it; ``source`` names it in messages.

        Raises:
            InvalidFileError: it is no object.
        """
        if not isinstance(values, dict):
            raise InvalidFileError(f"{source}: found {type(values).__name__}, expected a JSON object")
        self.values: Mapping[str, Any] = values
        self.source = source

    def check_keys(self, required: Iterable[str], known: Iterable[str]) -> None:
        """Refuses keys that are not ``known``, and an object without those that are ``required``."""
        names = list(known)
        unknown = sorted(str(key) for key in set(self.values) - set(names))
        if unknown:
            raise InvalidFileError(f"{self.source}: unknown keys {', '.join(unknown)}; known are {', '.join(names)}")
        missing = [key for key in required if key not in self.values]
        if missing:
            raise InvalidFileError(f"{self.source}: missing keys {', '.join(missing)}")

    def check_version(self, version: int) -> None:
        """Refuses another ``schema_version``."""
        found = self.values.get("schema_version")
        if type(found) is not int or found != version:
            raise self.wrong("schema_version", str(version))

    def wrong(self, key: str, expected: str) -> InvalidFileError:
        """The error of a value that is not what was ``expected``."""
        return InvalidFileError(f"{self.source}: {key}={repr(self.values.get(key))[:200]}, expected {expected}")

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of ``allowed``."""
        value = self.values.get(key)
        if not isinstance(value, str) or value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return value

    def optional_choice(self, key: str, allowed: tuple[str, ...], where: str = "") -> str | None:
        """One of ``allowed``, null or nothing."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or value not in allowed):
            raise self.wrong(key, f"{where}null{' or one of ' if allowed else ''}{', '.join(allowed)}")
        return value

    def integer(self, key: str, high: int) -> int | None:
        """An integer from 1 to ``high``, null or nothing."""
        value = self.values.get(key)
        if value is not None and (type(value) is not int or not 1 <= value <= high):
            raise self.wrong(key, f"null or an integer in [1, {high}]")
        return value

    def small_number(self, key: str) -> float | None:
        """A number from 0 to 1, null or nothing."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self.wrong(key, "null or a number in [0, 1]")
        return float(value)

    def data_set(self, key: str) -> str | None:
        """The name of a data set and no path, null or nothing."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", value)):
            raise self.wrong(key, "null or the name of a data set (qdeploy list datasets), no path")
        return value

    def text(self, key: str) -> str | None:
        """A string, null or nothing."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "null or a string")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty by default."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of names of tensors")
        return tuple(value)
