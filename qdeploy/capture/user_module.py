"""Modules of the user's own code, and the files that hold their weights."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError, MissingRequirementError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load_entry", "load_weights"]


def load_entry(entry: str, weights: str | os.PathLike[str] | None = None) -> nn.Module:
    """Calls the function ``package.module:function`` without arguments; it is imported from the current folder too.

    Args:
        entry: what ``--entry`` takes.
        weights: a file of weights for ``load_weights``.

    Raises:
        InvalidInputError: the entry cannot be imported or called, or gives no ``torch.nn.Module``.
        InvalidFileError: the weights cannot be used.
    """
    from torch import nn

    module_name, separator, function_name = entry.partition(":")
    if not (separator and module_name and function_name.isidentifier()):
        raise InvalidInputError(f"entry {entry!r}: expected package.module:function")
    folder = str(Path.cwd())
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidInputError(
            f"entry {entry!r}: {module_name} cannot be imported from {folder} ({error}); run the command in the folder "
            "that holds it, or install it"
        ) from error
    finally:
        if added:
            sys.path.remove(folder)
    function = getattr(module, function_name, None)
    if not callable(function):
        names = ", ".join(name for name in vars(module) if not name.startswith("_"))
        raise InvalidInputError(f"entry {entry!r}: {module_name} has no function {function_name}; it has {names}")
    try:
        built = function()
    except TypeError as error:
        raise InvalidInputError(
            f"entry {entry!r}: calling {function_name}() failed ({error}); expected a function without arguments"
        ) from error
    if not isinstance(built, nn.Module):
        raise InvalidInputError(f"entry {entry!r}: found {type(built).__name__}, expected a torch.nn.Module")
    if weights is not None:
        load_weights(built, weights)
    return built


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Loads a state_dict, strictly: every tensor of the module and no other.

    Weights that torch.nn.utils.prune masked (``NAME_orig``, ``NAME_mask``) are loaded into a module without masks as
    their products.

    Args:
        module: changed in place.
        path: ``.safetensors``, or ``.pt``/``.pth``/``.bin`` as ``torch.save(module.state_dict(), path)`` writes it.
            Files that hold code are refused: nothing of a file is ever executed.

    Raises:
        InvalidFileError: another kind of file, a broken one, code in it, other names or shapes, NaN or infinite values.
    """
    file = Path(path)
    state = _read_state(file)
    if set(state) == {"state_dict"} or ("state_dict" in state and not isinstance(state["state_dict"], _tensor_type())):
        state = state["state_dict"]  # type: ignore[assignment]  # a checkpoint with an optimizer beside it
    if not isinstance(state, Mapping):
        raise InvalidFileError(f"{file}: state_dict is {type(state).__name__}, expected tensors by name")
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise InvalidFileError(f"{file}: found the key {str(name)[:60]!r}, expected the names of parameters")
        if not isinstance(tensor, _tensor_type()):
            raise InvalidFileError(
                f"{file}: entry {name} is {type(tensor).__name__}, expected tensors only; save model.state_dict()"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InvalidFileError(
                f"{file}: tensor {name} holds NaN or infinite values, expected finite weights; take a checkpoint from "
                "before "
                "the training diverged"
            )
    from qdeploy.models.masks import masked_products, masks_of

    if not masks_of(module.state_dict()):
        state = masked_products(state, str(file))
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        lines = "; ".join(line.strip() for line in str(error).splitlines()[1:] if line.strip())
        raise InvalidFileError(
            f"{file}: the weights do not fit {type(module).__name__}: {lines or error}; build the model as it was "
            "trained"
        ) from error


def _tensor_type() -> type[Tensor]:
    from torch import Tensor

    return Tensor


def _read_state(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise InvalidFileError(f"{file}: no such file, expected weights as .safetensors or .pt")
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    if file.suffix not in {".pt", ".pth", ".bin"}:
        raise InvalidFileError(f"{file}: found the ending {file.suffix!r}, expected .safetensors, .pt, .pth or .bin")
    from qdeploy.models.torch_file import read_torch_file

    state = read_torch_file(file, "a state_dict; save model.state_dict()")
    if not isinstance(state, Mapping):
        raise InvalidFileError(f"{file}: found {type(state).__name__}, expected a state_dict; save model.state_dict()")
    found: Mapping[str, Tensor] = state
    return found


def _read_safetensors(file: Path) -> Mapping[str, Tensor]:
    try:
        import safetensors
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingRequirementError(
            "safetensors is not installed, which reads these weights; install it with: pip install safetensors"
        ) from error
    try:
        state: Mapping[str, Tensor] = load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InvalidFileError(
            f"{file}: not a safetensors file, or a truncated one ({error}); save it again"
        ) from error
    return state
