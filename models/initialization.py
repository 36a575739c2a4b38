"""The weights that a training begins with."""

from __future__ import annotations

from typing import Any

from torch import nn

from qdeploy.runtime.errors import InvalidInputError

from .checkpoint import load_checkpoint
from .config import TrainingConfig
from .hadamard_rnn import HadamardRNN
from .orthogonal_classifier import OrthogonalClassifier
from .phases import Phases
from .registry import build
from .shaped_to_grid import shaped_to_grid
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
        "phases": None if config.initial_phases is None else Phases.read(config.initial_phases),
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if config.initial_checkpoint is not None:
        if chosen:
            raise InvalidInputError(f"{config.name}: initial_checkpoint already says {', '.join(chosen)}")
        return _from_checkpoint(module, config, config.initial_checkpoint)
    if config.recurrent_rounding is not None:
        raise InvalidInputError(f"{config.name}: recurrent_rounding needs an initial_checkpoint to round")
    if isinstance(module, OrthogonalClassifier) and isinstance(module.recurrent, HadamardRNN):
        if set(chosen) - {"input_range"}:
            raise InvalidInputError(
                f"{config.name}: of a Hadamard recurrence initial_input_range alone can be chosen, found also "
                f"{', '.join('initial_' + name for name in sorted(set(chosen) - {'input_range'}))}"
            )
        module.recurrent.reset_parameters(**chosen)
    elif isinstance(module, OrthogonalClassifier):
        module.recurrent.reset_parameters(**chosen)
    elif chosen:
        raise InvalidInputError(
            f"{config.name}: {', '.join('initial_' + name for name in chosen)} are of recurrent networks, "
            f"{config.architecture} is none"
        )
    return module


def _from_checkpoint(module: nn.Module, config: TrainingConfig, name: str) -> nn.Module:
    """The checkpoint's weights in ``module``; where the configuration says so, the recurrent one rounded."""
    given = load_checkpoint(resolve(name))
    found, wanted = given.metadata["hyperparameters"], config.hyperparameters
    # A rounded weight is on the grid, and not orthogonal any more: these two differ from the float network's.
    free = ("weight_bits", "output_weight_bits", "orthogonal") if config.recurrent_rounding is not None else ()
    if given.metadata["architecture"] != config.architecture or any(
        found.get(key) != wanted.get(key) for key in (set(found) | set(wanted)) - set(free)
    ):
        raise InvalidInputError(
            f"{config.name}: initial checkpoint {name} is of another architecture or of other hyper-parameters"
        )
    if config.recurrent_rounding is None:
        return given.module
    source = given.module
    if not isinstance(source, OrthogonalClassifier) or not isinstance(module, OrthogonalClassifier):
        raise InvalidInputError(f"{config.name}: recurrent_rounding is of recurrent networks, {name} is none")
    if isinstance(module.recurrent, HadamardRNN) or isinstance(source.recurrent, HadamardRNN):
        raise InvalidInputError(f"{config.name}: the signs of a Hadamard recurrence need no recurrent_rounding")
    bits = module.weight_bits
    if bits is None or module.recurrent.orthogonal != "none" or source.weight_bits is not None:
        raise InvalidInputError(
            f"{config.name}: recurrent_rounding takes a float network to weight_bits and orthogonal='none'; found "
            f"weight_bits={source.weight_bits} in {name}, here weight_bits={bits} and "
            f"orthogonal={module.recurrent.orthogonal!r}"
        )
    weight = source.recurrent.materialize()[0]
    if config.recurrent_rounding == "shaped":
        weight = shaped_to_grid(weight, bits)
    module.load_state_dict({**source.state_dict(), "recurrent.recurrent_weight": weight})
    return module
