"""Checkpoints of our own: found by path, by path without ending, or by a shipped one's name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingRequirementError

if TYPE_CHECKING:
    from qdeploy.models import LoadedCheckpoint
    from qdeploy.models.importers.foreign import ForeignCheckpoint

__all__ = ["checkpoint_dataset", "checkpoint_takes_indices", "checkpoint_vocabulary", "load_foreign", "load_named"]

_ENDINGS = frozenset({".safetensors", ".json", ".pt", ".pth"})


def load_named(model: str | Path) -> LoadedCheckpoint:
    """The checkpoint that ``model`` names.

    Raises:
        InvalidFileError: no such file, and no shipped checkpoint of that name.
        MissingRequirementError: torch is not installed.
    """
    from qdeploy.models import resolve, shipped_names

    path = Path(model)
    # A folder of that name is what a training of it left there.
    is_file = path.is_file() or path.suffix in _ENDINGS or path.with_name(f"{path.name}.json").exists()
    if not is_file and str(model) not in shipped_names():
        raise InvalidFileError(
            f"model {str(model)!r}: no such file and no shipped checkpoint; expected an .onnx file, a checkpoint, or one of "
            f"{', '.join(shipped_names()) or 'none shipped'}; a module of your own code is given with --entry "
            "package.module:function"
        )
    try:
        from qdeploy.models import load_checkpoint
    except ImportError as error:
        raise MissingRequirementError(
            f"{model}: torch is not installed, which reads checkpoints; install it with: pip install 'qdeploy[torch]'"
        ) from error
    return load_checkpoint(path if is_file else resolve(str(model)))


def load_foreign(model: str | Path, architecture: str | Path) -> ForeignCheckpoint:
    """The checkpoint of another library, by the JSON that says what it does not hold; nothing in them is executed.

    Raises:
        InvalidFileError: a file that is missing, corrupted or not what it should be, or two that do not fit.
        UnsupportedModelError: a network that has no form here.
        MissingRequirementError: torch is not installed.
    """
    try:
        from qdeploy.models.importers.foreign import import_foreign
    except ImportError as error:
        raise MissingRequirementError(
            f"{model}: torch is not installed, which reads checkpoints; install it with: pip install 'qdeploy[torch]'"
        ) from error
    return import_foreign(model, architecture)


def checkpoint_dataset(model: str | Path) -> str | None:
    """The name of the data set in the checkpoint's metadata, or None where it has none."""
    dataset = load_named(model).metadata.get("dataset")
    return dataset if isinstance(dataset, str) else None


def checkpoint_takes_indices(model: str | Path) -> bool:
    """Whether the network begins with an embedding, so that a text's characters go in as integers."""
    hyperparameters = load_named(model).metadata.get("hyperparameters")
    return isinstance(hyperparameters, dict) and hyperparameters.get("embedding_size") is not None


def checkpoint_vocabulary(model: str | Path) -> tuple[str, ...] | None:
    """The characters by index that a character model's checkpoint lists, or None where it lists none.

    Raises:
        InvalidFileError: what it lists is no vocabulary.
    """
    from qdeploy.datasets import Vocabulary

    found = load_named(model).metadata.get("vocabulary")
    try:
        return None if found is None else Vocabulary.from_json(found).characters
    except InvalidInputError as error:
        raise InvalidFileError(f"{model}: {error}") from error
