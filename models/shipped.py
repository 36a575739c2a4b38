"""The trained checkpoints that come with the package."""

from __future__ import annotations

from pathlib import Path

from qdeploy.runtime.errors import InvalidInputError

__all__ = ["resolve", "shipped_names"]

CHECKPOINT_FOLDER = Path(__file__).parent / "checkpoints"


def shipped_names() -> list[str]:
    """Names of the shipped checkpoints, those that have both of their files."""
    return sorted(path.stem for path in CHECKPOINT_FOLDER.glob("*.safetensors") if path.with_suffix(".json").is_file())


def resolve(name: str) -> Path:
    """The ``.safetensors`` file of a shipped checkpoint, for ``load_checkpoint``.

    Raises:
        InvalidInputError: none of this name.
    """
    if name not in shipped_names():
        raise InvalidInputError(f"no shipped checkpoint {name!r}; shipped are {', '.join(shipped_names()) or 'none'}")
    return CHECKPOINT_FOLDER / f"{name}.safetensors"
