"""The weights that a training begins with."""

from __future__ import annotations

from typing import Any

from torch import nn

from qdeploy.runtime.errors import InvalidInputError

from .checkpoint import load_checkpoint
from .config import TrainingConfig
from .orthogonal_classifier import OrthogonalClassifier
from .registry import build
from .shipped import resolve

__all__ = ["initial_module"]


def initial_module(config: TrainingConfig) -> nn.Module:
    """The architecture with the initial weights: of a shipped checkpoint, or from torch's global generator.

    Raises:
        UnsupportedModelError, InvalidInputError: as ``build``; a checkpoint that is not shipped or does not fit; keys
            that are of recurrent networks alone.
    """
    module = build(config.architecture, config.hyperparameters)
    chosen: dict[str, Any] = {
        "cycles": config.initial_cycles,
        "resting_state": config.initial_resting_state,
        "input_range": config.initial_input_range,
        "random": config.initial_random or None,
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if config.initial_checkpoint is not None:
        given = load_checkpoint(resolve(config.initial_checkpoint))
        if (given.metadata["architecture"], given.metadata["hyperparameters"]) != (
            config.architecture,
            config.hyperparameters,
        ):
            raise InvalidInputError(
                f"{config.name}: initial checkpoint {config.initial_checkpoint} is of another architecture or of other "
                "hyper-parameters"
            )
        if chosen:
            raise InvalidInputError(f"{config.name}: initial_checkpoint already says {', '.join(chosen)}")
        return given.module
    if isinstance(module, OrthogonalClassifier):
        module.recurrent.reset_parameters(**chosen)
    elif chosen:
        raise InvalidInputError(
            f"{config.name}: {', '.join('initial_' + name for name in chosen)} are of recurrent networks, "
            f"{config.architecture} is none"
        )
    return module
