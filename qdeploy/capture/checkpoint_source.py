"""Which data set one of our checkpoints was trained on."""

from __future__ import annotations

from pathlib import Path

__all__ = ["checkpoint_dataset"]


def checkpoint_dataset(model: str | Path) -> str | None:
    """The name of the data set in the checkpoint's metadata, or None where ``model`` is no checkpoint with one."""
    from qdeploy.models import load_checkpoint, resolve, shipped_names

    path = resolve(str(model)) if str(model) in shipped_names() else Path(model)
    dataset = load_checkpoint(path).metadata.get("dataset")
    return dataset if isinstance(dataset, str) else None
