"""A checkpoint of another library and its side-car become an ``OrthogonalClassifier``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qdeploy.models.orthogonal_classifier import OrthogonalClassifier
from qdeploy.models.quantizer import quantize_weight
from qdeploy.models.recurrence import MODRELU_EPSILON
from qdeploy.runtime.errors import InvalidFileError

from .libraries import LIBRARIES
from .library import Layout, Library
from .side_car import SideCar, read_side_car
from .tensors import Tensors, read_tensors

__all__ = ["ImportedCheckpoint", "import_checkpoint", "import_tensors"]


@dataclass(frozen=True)
class ImportedCheckpoint:
    """A network in evaluation mode, with the weights that its library multiplies by, and the side-car."""

    module: OrthogonalClassifier
    side_car: SideCar


def import_checkpoint(path: str | Path, side_car: str | Path) -> ImportedCheckpoint:
    """Reads a state dict of another library, by the side-car that describes it; neither file is executed.

    Args:
        path: ``.safetensors``, ``.pt`` or ``.pth``.
        side_car: a JSON file, see ``SideCar``.

    Raises:
        InvalidFileError: a file that is missing, corrupted or not what it should be, or two that do not fit.
        UnsupportedModelError: a network that has no form here.
    """
    described = read_side_car(side_car)
    return ImportedCheckpoint(import_tensors(read_tensors(path), described), described)


def import_tensors(tensors: Tensors, side_car: SideCar) -> OrthogonalClassifier:
    """The network of ``tensors``: weights orthogonalized and on their grids, as the library's forward pass has them.

    Raises:
        InvalidFileError, UnsupportedModelError: see ``import_checkpoint``.
    """
    library = LIBRARIES[side_car.library]
    _check(side_car, library)
    names = _names(tensors, side_car, library)
    part = library.read(tensors, names["recurrent_weight"], side_car)
    size = part.size
    input_weight = tensors.take(tensors.raw(names["input_weight"]), size, None)
    output_weight = tensors.take(tensors.raw(names["output_weight"]), None, size)
    classes = len(output_weight)
    bias = torch.zeros(size)
    for role in ("input_bias", "recurrent_bias"):
        if role in names:
            bias = bias + tensors.take(names[role], size)
    state: dict[str, Tensor] = {
        **part.state,
        "recurrent.input_weight": quantize_weight(input_weight, side_car.input_weight_bits),
        "recurrent.bias": bias,
        "output_weight": quantize_weight(output_weight, side_car.output_weight_bits),
        "output_bias": tensors.take(names["output_bias"], classes) if "output_bias" in names else torch.zeros(classes),
    }
    if "recurrent.recurrent_weight" in state:
        state["recurrent.recurrent_weight"] = quantize_weight(
            state["recurrent.recurrent_weight"], side_car.recurrent_weight_bits
        )
    if "modrelu" in (side_car.activation, side_car.output_activation):
        own = tensors.take(names["modrelu_bias"], size) + (_epsilon(side_car, library) - MODRELU_EPSILON)
        state["recurrent.modrelu_bias" if side_car.activation == "modrelu" else "output_modrelu_bias"] = own
    for name in (*side_car.ignored, *library.untrained):
        tensors.leave(name)
    tensors.check_all_taken()
    module = OrthogonalClassifier(
        input_weight.shape[1],
        size,
        classes,
        activation=side_car.activation,
        steps=side_car.steps,
        output_activation=side_car.output_activation,
        **part.hyperparameters,
    )
    module.load_state_dict(state)
    return module.eval()


def _check(side_car: SideCar, library: Library) -> None:
    """Keys that go together, or that only some libraries have."""
    source = side_car.source
    if library.ambiguous and side_car.parametrization is None:
        raise InvalidFileError(
            f"{source}: parametrization is missing, expected one of {', '.join(library.parametrizations)}: the checkpoint "
            "does not say which"
        )
    hadamard = side_car.library == "hadamrnn" and side_car.parametrization in (None, "hadamard")
    unused: dict[str, Any] = {
        "block_size": None if hadamard else side_car.block_size,
        "recurrent_weight_bits": side_car.recurrent_weight_bits if hadamard else None,
        "triangle": side_car.triangle if side_car.library != "geotorch" and side_car.triangle != "lower" else None,
        "epsilon": None if "modrelu" in (side_car.activation, side_car.output_activation) else side_car.epsilon,
    }
    found = [f"{key}={value!r}" for key, value in unused.items() if value is not None]
    if found:
        raise InvalidFileError(
            f"{source}: {', '.join(found)}: of no use for library={side_car.library!r} with parametrization="
            f"{side_car.parametrization!r} and activation={side_car.activation!r}; leave it out"
        )
    if side_car.activation == side_car.output_activation == "modrelu":
        raise InvalidFileError(
            f"{source}: modrelu in the loop and before the output: a layout for one bias is known only"
        )


def _epsilon(side_car: SideCar, library: Library) -> float:
    epsilon = library.epsilon if side_car.epsilon is None else side_car.epsilon
    if epsilon is None:
        raise InvalidFileError(
            f"{side_car.source}: epsilon is missing, which modReLU adds to |a|: programs with {side_car.library} have their "
            "own, often 0 or 1e-6"
        )
    return epsilon


def _names(tensors: Tensors, side_car: SideCar, library: Library) -> Layout:
    """The names by role: the side-car's, and for what it leaves out those of a layout of the library, where they are there.

    Raises:
        InvalidFileError: a tensor that is needed has no name.
    """
    needed = ["recurrent_weight", "input_weight", "output_weight"]
    if "modrelu" in (side_car.activation, side_car.output_activation):
        needed.append("modrelu_bias")
    elif "modrelu_bias" in side_car.tensors:
        raise InvalidFileError(f"{side_car.source}: tensors name a modrelu_bias, but no activation is modrelu")
    layout: Mapping[str, str] = next(
        (one for one in library.layouts if tensors.raw(one["output_weight"]) in tensors and _begins(tensors, one)),
        library.layouts[0] if library.layouts else {},
    )
    # Biases are in a layout's file or not; what the side-car names has to be.
    optional = {role: name for role, name in layout.items() if role in needed or name in tensors}
    if "modrelu_bias" not in needed:
        optional.pop("modrelu_bias", None)
    names = {**optional, **side_car.tensors}
    missing = [role for role in needed if role not in names]
    if missing:
        raise InvalidFileError(
            f"{side_car.source}: no names for {', '.join(missing)}; give them under 'tensors': programs with "
            f"{side_car.library} choose their own"
        )
    return names


def _begins(tensors: Tensors, layout: Layout) -> bool:
    """Whether the checkpoint has the input weight of ``layout``."""
    return tensors.raw(layout["input_weight"]) in tensors
