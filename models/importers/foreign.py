"""A checkpoint of another library and the JSON that describes it, whichever of the two kinds that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from qdeploy.runtime.errors import InvalidFileError

from .architecture import parse_architecture
from .json_object import read_json
from .kinds import QUATERNION_LIBRARIES
from .libraries import LIBRARIES
from .network import build_network
from .orthogonal import import_tensors
from .side_car import parse_side_car
from .tensors import read_state, read_tensors

__all__ = ["ForeignCheckpoint", "import_foreign"]


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A network in evaluation mode, and the data set that its description names."""

    module: nn.Module
    dataset: str | None


def import_foreign(path: str | Path, description: str | Path) -> ForeignCheckpoint:
    """Reads a state dict by a side-car (orthogonal RNNs) or an architecture (quaternion networks); nothing is executed.

    Args:
        path: ``.safetensors``, ``.pt``, ``.pth``, or ``.h5`` of Keras.
        description: a JSON file whose ``library`` says which of the two it is.

    Raises:
        InvalidFileError: a file that is missing, corrupted or not what it should be, or two that do not fit.
        UnsupportedModelError: a network that has no form here.
    """
    values, source = read_json(description), str(description)
    named = values.get("library") if isinstance(values, dict) else None
    library = named if isinstance(named, str) else None
    if library in QUATERNION_LIBRARIES:
        architecture = parse_architecture(values, source)
        return ForeignCheckpoint(build_network(read_state(path), architecture, str(path)), architecture.dataset)
    if isinstance(values, dict) and library not in LIBRARIES:
        raise InvalidFileError(
            f"{source}: library={repr(named)[:200]}, expected one of {', '.join(sorted([*LIBRARIES, *QUATERNION_LIBRARIES]))}"
        )
    side_car = parse_side_car(values, source)
    return ForeignCheckpoint(import_tensors(read_tensors(path), side_car), side_car.dataset)
