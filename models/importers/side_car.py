"""The side-car of a checkpoint of another library: a JSON with what the checkpoint does not hold.

A state dict has names and numbers. Which activation the loop had, of how many bits the grid was, which map made the
orthogonal matrix, whether the last step is read or every one: that is in the program that made it. The side-car says it.
Its keys are the fields of ``SideCar``; ``docs/importing.md`` has an example for each library.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdeploy.models.orthogonal_classifier import OUTPUT_ACTIVATIONS, STEPS
from qdeploy.models.quantizer import MAX_WEIGHT_BITS
from qdeploy.models.recurrence import ACTIVATIONS
from qdeploy.runtime.errors import InvalidFileError

__all__ = ["ROLES", "SCHEMA_VERSION", "SideCar", "parse_side_car", "read_side_car"]

SCHEMA_VERSION = 1
MAX_BYTES = 1 << 20
ROLES = (
    "recurrent_weight",
    "recurrent_bias",
    "input_weight",
    "input_bias",
    "modrelu_bias",
    "output_weight",
    "output_bias",
)
"""What the tensors of a checkpoint are for; both biases of the loop are added."""

TRIANGLES = ("lower", "upper")


@dataclass(frozen=True)
class SideCar:
    """What a checkpoint of another library does not say of itself.

    Attributes:
        library: whose layout the checkpoint has, see ``libraries.LIBRARIES``.
        activation: in the loop: ``relu``, ``modrelu``, ``tanh`` or ``linear``.
        steps: ``last`` where the output layer reads the last state, ``every`` where it reads all.
        output_activation: between the states and the output layer: null, ``relu``, ``modrelu`` or ``tanh``.
        parametrization: the map that makes the recurrent weight of what is stored; each library has its own names.
        triangle: ``lower`` or ``upper``: which half of the stored matrix geotorch reads.
        block_size: B of HadamRNN's blocks (2^q of the authors' ``basic_block``); null for one block of all units.
        recurrent_weight_bits, input_weight_bits, output_weight_bits: k of the q_k grid of W, U and V, or null where
            the weight is not quantized.
        epsilon: what modReLU adds to |a|; null for the library's own value.
        tensors: by role, the names of tensors in the checkpoint that differ from the library's own layout; a weight with
            a parametrization goes by its plain name (``cell.weight`` for ``cell.parametrizations.weight.original``).
        ignored: names of tensors that are no part of the network.
        dataset: a data set's name, which calibration takes unless it is given other data.
    """

    library: str
    activation: str
    steps: str
    output_activation: str | None = None
    parametrization: str | None = None
    triangle: str = "lower"
    block_size: int | None = None
    recurrent_weight_bits: int | None = None
    input_weight_bits: int | None = None
    output_weight_bits: int | None = None
    epsilon: float | None = None
    tensors: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    dataset: str | None = None
    source: str = "side-car"


def read_side_car(path: str | Path) -> SideCar:
    """The side-car in a JSON file.

    Raises:
        InvalidFileError: no such file, no JSON, or not a side-car; the message names the key.
    """
    file = Path(path)
    if not file.is_file():
        raise InvalidFileError(f"{file}: no such file; expected the JSON that describes a checkpoint")
    if file.stat().st_size > MAX_BYTES:
        raise InvalidFileError(f"{file}: {file.stat().st_size} bytes, expected a side-car of at most {MAX_BYTES}")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    # A ValueError is no JSON, no UTF-8, or an integer of more digits than Python reads.
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{file}: not a JSON file: {error}") from error
    return parse_side_car(values, str(file))


def parse_side_car(values: Any, source: str = "side-car") -> SideCar:
    """A side-car from the value of its JSON file; ``source`` names it in messages.

    Raises:
        InvalidFileError: unknown, missing or ill-typed keys, values out of bounds.
    """
    from .libraries import LIBRARIES

    if not isinstance(values, dict):
        raise InvalidFileError(f"{source}: found {type(values).__name__}, expected a JSON object")
    known = [item.name for item in dataclasses.fields(SideCar) if item.name != "source"]
    unknown = sorted(str(key) for key in set(values) - {*known, "schema_version"})
    if unknown:
        raise InvalidFileError(
            f"{source}: unknown keys {', '.join(unknown)}; known are schema_version, {', '.join(known)}"
        )
    missing = [key for key in ("schema_version", "library", "activation", "steps") if key not in values]
    if missing:
        raise InvalidFileError(f"{source}: missing keys {', '.join(missing)}")
    reader = _Reader(values, source)
    version = values["schema_version"]
    if type(version) is not int or version != SCHEMA_VERSION:
        raise reader.wrong("schema_version", str(SCHEMA_VERSION))
    return SideCar(
        library=reader.choice("library", tuple(LIBRARIES)),
        activation=reader.choice("activation", ACTIVATIONS),
        steps=reader.choice("steps", STEPS),
        output_activation=reader.optional_choice("output_activation", OUTPUT_ACTIVATIONS),
        parametrization=reader.optional_choice(
            "parametrization", LIBRARIES[values["library"]].parametrizations, f"for {values['library']} "
        ),
        triangle=reader.choice("triangle", TRIANGLES) if "triangle" in values else "lower",
        block_size=reader.integer("block_size", 1 << 20),
        recurrent_weight_bits=reader.integer("recurrent_weight_bits", MAX_WEIGHT_BITS),
        input_weight_bits=reader.integer("input_weight_bits", MAX_WEIGHT_BITS),
        output_weight_bits=reader.integer("output_weight_bits", MAX_WEIGHT_BITS),
        epsilon=reader.small_number("epsilon"),
        tensors=reader.names_by_role("tensors"),
        ignored=reader.names("ignored"),
        dataset=reader.text("dataset"),
        source=source,
    )


class _Reader:
    """Typed reads of the JSON object, whose errors name the key."""

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self._values = values
        self._source = source

    def wrong(self, key: str, expected: str) -> InvalidFileError:
        return InvalidFileError(f"{self._source}: {key}={repr(self._values.get(key))[:200]}, expected {expected}")

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self._values.get(key)
        if not isinstance(value, str) or value not in allowed:
            raise self.wrong(key, f"one of {', '.join(allowed)}")
        return value

    def optional_choice(self, key: str, allowed: tuple[str, ...], where: str = "") -> str | None:
        value = self._values.get(key)
        if value is not None and (not isinstance(value, str) or value not in allowed):
            raise self.wrong(key, f"{where}null{' or one of ' if allowed else ''}{', '.join(allowed)}")
        return value

    def integer(self, key: str, high: int) -> int | None:
        value = self._values.get(key)
        if value is not None and (type(value) is not int or not 1 <= value <= high):
            raise self.wrong(key, f"null or an integer in [1, {high}]")
        return value

    def small_number(self, key: str) -> float | None:
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self.wrong(key, "null or a number in [0, 1]")
        return float(value)

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "null or a string")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of names of tensors")
        return tuple(value)

    def names_by_role(self, key: str) -> dict[str, str]:
        value = self._values.get(key, {})
        if not isinstance(value, dict) or not all(
            role in ROLES and isinstance(name, str) for role, name in value.items()
        ):
            raise self.wrong(key, f"an object of names of tensors by role; roles are {', '.join(ROLES)}")
        return value
