"""Trainings of a study: variants of a configuration, one folder each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdeploy.models.config import TrainingConfig

__all__ = ["train_variant"]


def train_variant(config: TrainingConfig, folder: Path, progress: Callable[[str, float], None] | None = None) -> Path:
    """The checkpoint of a variant: as it is where its training is complete, else trained or gone on with.

    Args:
        config: its name is that of the folder below ``folder``.
        folder: of the study.
        progress: as ``qdeploy.training.train`` takes it.

    Raises:
        QdeployError: what ``qdeploy.training.train`` raises.
    """
    from qdeploy.training import train

    place = folder / config.name
    place.mkdir(parents=True, exist_ok=True)
    description = place / "config.json"
    description.write_text(json.dumps(config.as_dict(), indent=2) + "\n", encoding="utf-8")
    return Path(train(description, place, progress=progress or False).checkpoint)
