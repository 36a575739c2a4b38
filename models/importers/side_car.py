"""The side-car of a checkpoint of another library: a JSON with what the checkpoint does not hold.

A state dict has names and numbers. Which activation the loop had, of how many bits the grid was, which map made the
orthogonal matrix, whether the last step is read or every one: that is in the program that made it. The side-car says it.
Its keys are the fields of ``SideCar``; ``docs/importing.md`` has an example for each library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdeploy.models.orthogonal_classifier import OUTPUT_ACTIVATIONS, STEPS
from qdeploy.models.quantizer import MAX_WEIGHT_BITS
from qdeploy.models.recurrence import ACTIVATIONS

from .json_object import JsonObject, read_json

__all__ = ["ROLES", "SCHEMA_VERSION", "SideCar", "parse_side_car", "read_side_car"]

SCHEMA_VERSION = 1
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
    return parse_side_car(read_json(path), str(path))


def parse_side_car(values: Any, source: str = "side-car") -> SideCar:
    """A side-car from the value of its JSON file; ``source`` names it in messages.

    Raises:
        InvalidFileError: unknown, missing or ill-typed keys, values out of bounds.
    """
    from .libraries import LIBRARIES

    reader = _Reader(values, source)
    known = [item.name for item in dataclasses.fields(SideCar) if item.name != "source"]
    reader.check_keys(("schema_version", "library", "activation", "steps"), ("schema_version", *known))
    reader.check_version(SCHEMA_VERSION)
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
        dataset=reader.data_set("dataset"),
        source=source,
    )


class _Reader(JsonObject):
    """The side-car's own reads."""

    def names_by_role(self, key: str) -> dict[str, str]:
        """Strings by role, empty by default."""
        value = self.values.get(key, {})
        if not isinstance(value, dict) or not all(
            role in ROLES and isinstance(name, str) for role, name in value.items()
        ):
            raise self.wrong(key, f"an object of names of tensors by role; roles are {', '.join(ROLES)}")
        return value
