"""A copy of the user's module that is ready for capture: evaluation mode, plain parameters."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from qdeploy.models.masks import MASK, ORIGINAL, check_mask
from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

__all__ = ["check_finite", "evaluation_copy", "materialize_parametrizations"]


def evaluation_copy(module: nn.Module) -> nn.Module:
    """A deep copy on the CPU in evaluation mode; the user's module stays as it was."""
    # Pruned modules keep weight_orig * weight_mask as a plain attribute, which deepcopy refuses to copy.
    memo: dict[int, object] = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    copied: nn.Module = copy.deepcopy(module, memo)
    return copied.cpu().eval().requires_grad_(requires_grad=False)


def materialize_parametrizations(module: nn.Module) -> list[str]:
    """Replaces parametrized (orthogonal, weight norm, ...) and pruned parameters by their values, in place.

    Returns:
        A note for each module that was changed.

    Raises:
        InvalidFileError: a pruning mask that is not of 0 and 1.
    """
    notes = []
    with torch.no_grad():
        for path, part in module.named_modules():
            if path.endswith("parametrizations") or ".parametrizations." in f".{path}.":
                continue
            if parametrize.is_parametrized(part):
                _own_class(part)
                names = list(part.parametrizations)
                for name in names:
                    parametrize.remove_parametrizations(part, name, leave_parametrized=True)
                notes.append(f"{path or 'model'}: the parametrization of {', '.join(names)} was materialized")
            pruned = [hook._tensor_name for hook in part._forward_pre_hooks.values() if _is_pruning(hook)]  # noqa: SLF001  # torch keeps the name nowhere else
            for name in pruned:
                full = f"{path}.{name}".removeprefix(".")
                check_mask(part.get_buffer(name + MASK), part.get_parameter(name + ORIGINAL), full, "model")
                prune.remove(part, name)
                notes.append(f"{path or 'model'}: the pruning mask of {name} was applied")
    return notes


def _own_class(part: nn.Module) -> None:
    """Copies the class that torch made for a parametrized module.

    Copies of such a module share its class, and removing a parametrization deletes the parameter's property from it:
    the user's module would lose its weight.
    """
    shared = type(part)
    members = {name: value for name, value in vars(shared).items() if name not in {"__dict__", "__weakref__"}}
    part.__class__ = type(shared.__name__, shared.__bases__, members)


def _is_pruning(hook: object) -> bool:
    return isinstance(hook, prune.BasePruningMethod)


def check_finite(module: nn.Module, source: str) -> None:
    """Every parameter and buffer is finite float32.

    Raises:
        InvalidFileError: NaN or infinite values, with the tensor's name.
        InvalidInputError: another floating-point type than float32.
    """
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        if tensor.dtype != torch.float32:
            raise InvalidInputError(
                f"{source}: tensor {name} is {str(tensor.dtype).removeprefix('torch.')}, expected float32; "
                "convert the model with model.float()"
            )
        if not bool(torch.isfinite(tensor).all()):
            count = int((~torch.isfinite(tensor)).sum())
            raise InvalidFileError(
                f"{source}: tensor {name} holds {count} NaN or infinite values, expected finite weights; "
                "take a checkpoint from before the training diverged"
            )
