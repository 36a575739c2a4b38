"""Reading a manifest's JSON strictly: every value is checked where it is asked for, and an error says where it stands."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["Reader", "Shape", "no_constant", "unique"]

_LARGEST_DIMENSION = 1 << 24
_MOST_ELEMENTS = 1 << 26
_MOST_ENTRIES = 100_000

#: Fixed dimensions are integers, symbolic ones ("batch", "time") strings.
Shape: TypeAlias = tuple[int | str, ...]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different, as a hook of the JSON reader."""
    result = dict(pairs)
    if len(result) != len(pairs):
        msg = "a key stands twice in one object"
        raise ValueError(msg)
    return result


def no_constant(text: str) -> Any:
    """Refuses NaN and infinities, as a hook of the JSON reader."""
    msg = f"found {text}, expected a finite number"
    raise ValueError(msg)


class Reader:
    """One JSON object with its place in the file; remembers which keys were asked for."""

    def __init__(self, value: Any, file: str, place: str) -> None:
        self.file, self._place = file, place
        if not isinstance(value, dict):
            self.fail("", type(value).__name__, "an object")
        self._value: dict[str, Any] = value
        self._seen: set[str] = set()

    def fail(self, key: str, found: str, expected: str) -> None:
        """Raises; the return type stays None so that callers read as checks."""
        place = ".".join(part for part in (self._place, key) if part) or "the top level"
        msg = f"{self.file}: {place}: found {found}, expected {expected}; export again"
        raise InvalidFileError(msg)

    def get(self, key: str, kinds: tuple[type, ...], expected: str, *, optional: bool = False) -> Any:
        """The value of a key, of one of the kinds; ``None`` for an optional one that is absent or null."""
        self._seen.add(key)
        if key not in self._value:
            if optional:
                return None
            self.fail(key, "nothing", expected)
        value = self._value[key]
        if optional and value is None:
            return None
        # bool is an int to Python, not to a manifest.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            self.fail(key, f"{type(value).__name__} {str(value)[:60]!r}", expected)
        return value

    def rest(self) -> dict[str, Any]:
        """What no one asked for."""
        return {key: value for key, value in self._value.items() if key not in self._seen}

    def string(self, key: str) -> str:
        """A text of 1 to 1024 printable characters."""
        value: str = self.get(key, (str,), "a text")
        if not 0 < len(value) <= 1024 or any(ord(c) < 32 for c in value):
            self.fail(key, repr(value[:60]), "a text of 1 to 1024 printable characters")
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of the allowed texts."""
        value = self.string(key)
        if value not in allowed:
            self.fail(key, repr(value), f"one of {', '.join(allowed)}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer from low to high."""
        value: int = self.get(key, (int,), "an integer")
        if not low <= value <= high:
            self.fail(key, str(value)[:60], f"an integer in {low} … {high}")
        return value

    def is_null(self, key: str) -> bool:
        """Whether the key stands there with the value null."""
        return key in self._value and self._value[key] is None

    def peek_integer(self, key: str, low: int, high: int) -> None:
        """Checks an integer that stays in ``rest``."""
        self.integer(key, low, high)
        self._seen.discard(key)

    def optional_integer(self, key: str, low: int, high: int) -> None:
        """Checks an integer from low to high, or null."""
        if self.get(key, (int,), "an integer or null", optional=True) is not None:
            self.integer(key, low, high)

    def optional_number(self, key: str) -> None:
        """Checks a finite number, or null."""
        value = self.get(key, (int, float), "a number or null", optional=True)
        if value is not None and not abs(value) < 1e300:
            self.fail(key, str(value)[:60], "a finite number or null")

    def interval(self, key: str) -> None:
        """A list of two numbers."""
        value = self.get(key, (list,), "two numbers")
        if len(value) != 2 or not all(type(item) in {int, float} and abs(item) < 1e300 for item in value):
            self.fail(key, str(value)[:60], "two finite numbers")

    def axis(self, key: str, shape: Shape) -> int | None:
        """An axis of the shape, or null."""
        value: int | None = self.get(key, (int,), "an axis or null", optional=True)
        if value is not None and not 0 <= value < len(shape):
            self.fail(key, str(value), f"an axis of {list(shape)} or null")
        return value

    def scale(self, key: str) -> float:
        """A positive finite number."""
        value = self.get(key, (int, float), "a positive number")
        return self._positive(key, value)

    def _positive(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
            self.fail(key, str(value)[:60], "a positive number")
        number = float(value)
        if not (number > 0 and math.isfinite(number)):
            self.fail(key, str(value), "a positive finite number")
        return number

    def scales(self, key: str) -> float | tuple[float, ...] | None:
        """A positive finite number, several, or null."""
        value = self.get(key, (int, float, list), "a positive number, a list of them or null", optional=True)
        if isinstance(value, list):
            return tuple(self._positive(key, item) for item in value)
        return None if value is None else self._positive(key, value)

    def shape(self, key: str) -> Shape:
        """Dimensions: fixed integers and names, bounded in number and size."""
        value: list[Any] = self.get(key, (list,), "a list of dimensions")
        for dimension in value:
            symbolic = isinstance(dimension, str) and 0 < len(dimension) <= 128
            fixed = type(dimension) is int and 1 <= dimension <= _LARGEST_DIMENSION
            if not (symbolic or fixed):
                self.fail(key, repr(dimension)[:60], f"names and integers in 1 … {_LARGEST_DIMENSION}")
        if len(value) > 16:
            self.fail(key, f"{len(value)} dimensions", "at most 16")
        if math.prod(dimension for dimension in value if isinstance(dimension, int)) > _MOST_ELEMENTS:
            self.fail(key, str(value)[:60], f"at most {_MOST_ELEMENTS} elements")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """An object, as it is."""
        value: dict[str, Any] = self.get(key, (dict,), "an object")
        return value

    def items(self, key: str) -> list[Reader]:
        """The objects of a list, each with its place."""
        value: list[Any] = self.get(key, (list,), "a list")
        if len(value) > _MOST_ENTRIES:
            self.fail(key, f"{len(value)} entries", f"at most {_MOST_ENTRIES}")
        return [Reader(item, self.file, f"{self._place}{key}[{i}]") for i, item in enumerate(value)]

    def entries(self, key: str) -> list[tuple[str, Reader]]:
        """The objects of an object, each with its name and place."""
        value = self.mapping(key)
        if len(value) > _MOST_ENTRIES:
            self.fail(key, f"{len(value)} entries", f"at most {_MOST_ENTRIES}")
        return [(name, Reader(item, self.file, f"{self._place}{key}[{name!r}]")) for name, item in value.items()]
