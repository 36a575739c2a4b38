"""The architecture file: a JSON that lists the layers of a feed-forward network whose tensors another library stored.

A state dict holds names and numbers, not the order of the layers, their strides and activations. ``docs/importing.md`` has
the keys of every kind of layer and an example for each library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdeploy.runtime.errors import InvalidFileError

from .json_object import JsonObject, read_json
from .kinds import QUATERNION_LIBRARIES, Kind, QuaternionLibrary, Spec
from .kinds.real import ACTIVATIONS

__all__ = ["SCHEMA_VERSION", "Architecture", "parse_architecture", "read_architecture"]

SCHEMA_VERSION = 1
RESIDUAL = "Residual"

MAX_LAYERS = 4096
MAX_DEPTH = 8
MAX_SAMPLE = 1 << 24
_MAX_RANK = 3


@dataclass(frozen=True)
class Architecture:
    """What an architecture file says.

    Attributes:
        library: of ``QUATERNION_LIBRARIES``.
        channels_last: whether a sample is [*S, C] instead of [C, *S].
        input: the shape of a sample; ``None`` is any number of steps.
        layers: in their order.
        ignored: names of tensors that are no part of the network.
        dataset: a data set's name, which calibration takes unless it is given other data.
        source: the file, for messages.
    """

    library: str
    channels_last: bool
    input: tuple[int | None, ...]
    layers: tuple[Spec, ...]
    ignored: tuple[str, ...] = ()
    dataset: str | None = None
    source: str = "architecture"


def read_architecture(path: str | Path) -> Architecture:
    """The architecture in a JSON file.

    Raises:
        InvalidFileError: no such file, no JSON, or not an architecture; the message names the layer and the key.
    """
    return parse_architecture(read_json(path), str(path))


def parse_architecture(values: Any, source: str = "architecture") -> Architecture:
    """An architecture from the value of its JSON file; ``source`` names it in messages.

    Raises:
        InvalidFileError: unknown, missing or ill-typed keys, values out of bounds, unknown kinds, a name that is used twice.
    """
    reader = JsonObject(values, source)
    required = ("schema_version", "library", "input", "layers")
    reader.check_keys(required, (*required, "data_format", "ignored", "dataset"))
    reader.check_version(SCHEMA_VERSION)
    name = reader.choice("library", tuple(QUATERNION_LIBRARIES))
    library = QUATERNION_LIBRARIES[name]
    layers = _layers(reader, "layers", library, f"{source}: layers", 0)
    if not layers:
        raise reader.wrong("layers", "at least one layer")
    _check_names(layers)
    channels_last = _channels_last(reader, name, library)
    return Architecture(
        library=name,
        channels_last=channels_last,
        input=_input(reader, channels_last=channels_last),
        layers=layers,
        ignored=reader.names("ignored"),
        dataset=reader.data_set("dataset"),
        source=source,
    )


def _channels_last(reader: JsonObject, name: str, library: QuaternionLibrary) -> bool:
    if "data_format" in reader.values:
        return reader.choice("data_format", library.formats) == "channels_last"
    if library.explicit:
        raise InvalidFileError(
            f"{reader.source}: data_format is missing, expected one of {', '.join(library.formats)}: {name} has both"
        )
    return library.formats[0] == "channels_last"


def _input(reader: JsonObject, *, channels_last: bool) -> tuple[int | None, ...]:
    found = reader.values["input"]
    sizes = found if isinstance(found, list) else []
    # Of a sequence [T, C] the number of steps may be any.
    fixed = sizes[1:] if channels_last and len(sizes) == 2 and sizes[0] is None else sizes
    fits = 1 <= len(sizes) <= 1 + _MAX_RANK and all(type(one) is int and one > 0 for one in fixed)
    if not fits or math.prod(fixed) > MAX_SAMPLE:
        raise reader.wrong(
            "input",
            f"the shape of a sample: one to four sizes, {MAX_SAMPLE} numbers at most; of a sequence the first may be null",
        )
    return tuple(sizes)


def _layers(reader: JsonObject, key: str, library: QuaternionLibrary, where: str, depth: int) -> tuple[Spec, ...]:
    found = reader.values.get(key, [])
    if not isinstance(found, list) or len(found) > MAX_LAYERS:
        raise InvalidFileError(f"{where}: found {type(found).__name__}, expected a list of at most {MAX_LAYERS} layers")
    return tuple(_layer(one, library, f"{where}[{index}]", depth) for index, one in enumerate(found))


def _layer(values: Any, library: QuaternionLibrary, where: str, depth: int) -> Spec:
    reader = JsonObject(values, where)
    if "kind" not in reader.values:
        raise InvalidFileError(f"{where}: missing keys kind")
    kind = reader.choice("kind", (*library.kinds, RESIDUAL))
    where = f"{where} ({kind})"
    reader.source = where
    if kind == RESIDUAL:
        return _residual(reader, library, depth)
    made = library.kinds[kind]
    required = [key for key, value in made.keys.items() if value.required]
    own = ["kind", "activation", *([] if made.named is False else ["name"])]
    if made.named:
        required.append("name")
    reader.check_keys(required, (*own, *made.keys))
    name = reader.text("name") or ""
    if made.named and not name:
        raise reader.wrong("name", "what the names of its tensors begin with, without the dot")
    return Spec(kind, name, _values(reader, made), _activation(reader), f"{where[:-1]} {name})" if name else where)


def _values(reader: JsonObject, kind: Kind) -> dict[str, Any]:
    return {
        key: wanted.read(reader, key) if key in reader.values else wanted.default for key, wanted in kind.keys.items()
    }


def _activation(reader: JsonObject) -> str | None:
    return reader.optional_choice("activation", tuple(ACTIVATIONS))


def _residual(reader: JsonObject, library: QuaternionLibrary, depth: int) -> Spec:
    reader.check_keys(("layers",), ("kind", "layers", "shortcut", "activation"))
    if depth >= MAX_DEPTH:
        raise InvalidFileError(f"{reader.source}: branches within each other, {MAX_DEPTH} deep at most")
    layers = _layers(reader, "layers", library, f"{reader.source}.layers", depth + 1)
    if not layers:
        raise reader.wrong("layers", "at least one layer beside the shortcut")
    shortcut = _layers(reader, "shortcut", library, f"{reader.source}.shortcut", depth + 1)
    return Spec(RESIDUAL, "", {}, _activation(reader), reader.source, layers, shortcut)


def _check_names(layers: tuple[Spec, ...]) -> None:
    places: dict[str, str] = {}
    for spec in _all(layers):
        if spec.name and spec.name in places:
            raise InvalidFileError(
                f"{spec.where}: name={spec.name!r} is that of {places[spec.name]} too; expected a name of its own"
            )
        places[spec.name] = spec.where


def _all(layers: tuple[Spec, ...]) -> Iterator[Spec]:
    for spec in layers:
        yield spec
        yield from _all(spec.layers)
        yield from _all(spec.shortcut)
