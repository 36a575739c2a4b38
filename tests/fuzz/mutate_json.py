"""Mutations of JSON: of the tree, and of the text where a tree cannot say it (duplicate keys, NaN, nesting)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from .mutate_bytes import NUMBERS, TEXTS, mutate_bytes


@dataclass
class Raw:
    """A piece of text that stands in the file as it is."""

    text: str


_RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "-0.0", "1.5", "9" * 400, "9" * 5000, "1" + "0" * 4000 + ".5",
    "[" * 200_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, '"\\ud800"', '"\\u0000"', "'x'", "tru", "", "[1,]", "0x10", "01",
)  # fmt: skip


def mutate_json(random: Random, data: bytes) -> bytes:
    """One change of the tree or of the text."""
    if random.random() < 0.15:
        return _encoded(random, data)
    if random.random() < 0.1:
        return mutate_bytes(random, data)
    return dump(mutate_tree(random, _pairs(json.loads(data)))).encode("utf-8", "surrogatepass")


def mutate_tree(random: Random, tree: Any) -> Any:
    """``tree`` (objects as lists of pairs) with one change at a random place."""
    places = list(_places(tree))
    if not places:
        return _value(random, tree, [])
    container, key = random.choice(places)
    kind = random.randrange(8)
    if isinstance(container, Pairs):
        name, value = container.items[key]
        if kind == 0:
            del container.items[key]
        elif kind == 1:
            container.items.append((name, _value(random, value, places)))
        elif kind == 2:
            container.items[key] = (random.choice((*TEXTS, name + "2", name.upper())), value)
        else:
            container.items[key] = (name, _value(random, value, places))
    elif kind == 0:
        del container[key]
    elif kind == 1:
        container[key:key] = [container[key]] * random.choice((1, 2, 20, 2000))
    else:
        container[key] = _value(random, container[key], places)
    return tree


@dataclass
class Pairs:
    """A JSON object that may hold a key twice."""

    items: list[tuple[str, Any]]


def _pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return Pairs([(key, _pairs(item)) for key, item in value.items()])
    return [_pairs(item) for item in value] if isinstance(value, list) else value


def _places(value: Any) -> Any:
    children = (
        [item for _, item in value.items] if isinstance(value, Pairs) else value if isinstance(value, list) else []
    )
    for index, child in enumerate(children):
        yield value, index
        yield from _places(child)


def _value(random: Random, value: Any, places: list[Any]) -> Any:
    kind = random.randrange(10)
    if kind == 0 and places:
        container, key = random.choice(places)
        # Put in as text: a copy of a tree that holds itself would have no end.
        return Raw(dump(container.items[key][1] if isinstance(container, Pairs) else container[key]))
    if kind <= 2 and isinstance(value, int | float) and not isinstance(value, bool):
        return random.choice((value + 1, -value, value * 10**6, float(value), str(value), value // 2, 0))
    if kind <= 2 and isinstance(value, str):
        return random.choice((value * 2, value[:-1], value.upper(), value + "\x00", "../" + value, [value]))
    if kind <= 4:
        return random.choice(NUMBERS)
    if kind == 5:
        return Raw(random.choice(_RAW))
    if kind == 6:
        return random.choice(TEXTS)
    return random.choice(
        (None, True, False, [], {}, [[]], 0.5, 1e308, 5e-324, -1.0, [1, "a", None], {"a": {}}, [0] * 40, "0.5")
    )


def dump(value: Any) -> str:
    """The text of a tree."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {dump(item)}" for key, item in value.items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dump, value)) + "]"
    return json.dumps(value)


def _encoded(random: Random, data: bytes) -> bytes:
    text = data.decode()
    return random.choice(
        (
            b"\xef\xbb\xbf" + data,
            text.encode("utf-16"),
            text.encode("utf-32"),
            data.replace(b'"', b'"\xff\xfe', 1),
            data + b"\0",
            data + data,
            data[:-2],
            b"[" + data + b"]",
            b" " * 100_000 + data,
            b"null",
            b'"text"',
            b"3",
            b"",
        )
    )
