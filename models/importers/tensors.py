"""The tensors of a checkpoint by name, and which of them were used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from qdeploy.models.masks import masked_products
from qdeploy.models.torch_file import MAX_FILE_BYTES, read_torch_file
from qdeploy.runtime.errors import InvalidFileError

from .keras_file import read_keras_file

__all__ = ["Tensors", "read_state", "read_tensors"]

_EXPECTED = "a state dict: tensors by name"
# How training scripts call a state dict among other things that they save.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# torch.nn.DataParallel puts it in front of every name.
_PARALLEL = "module."


class Tensors:
    """The tensors of a checkpoint; what is taken is remembered."""

    def __init__(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Takes the tensors by name; ``source`` names the file in messages."""
        self._tensors = dict(tensors)
        self._taken: set[str] = set()
        self.source = source

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._tensors

    def take(self, name: str, *shape: int | None) -> Tensor:
        """The tensor ``name`` in float32; ``None`` in ``shape`` stands for any length.

        Raises:
            InvalidFileError: none of this name, of another shape or type, or not finite.
        """
        if name not in self._tensors:
            raise InvalidFileError(
                f"{self.source}: no tensor {name!r}; it holds {', '.join(sorted(self._tensors)) or 'none'}. "
                "Name the tensors by their roles under 'tensors' of the side-car"
            )
        self._taken.add(name)
        tensor = self._tensors[name]
        fits = tensor.dim() == len(shape) and all(
            found > 0 and wanted in (None, found) for found, wanted in zip(tensor.shape, shape, strict=True)
        )
        if not fits or not tensor.is_floating_point():
            wanted_shape = ", ".join("any" if length is None else str(length) for length in shape)
            raise InvalidFileError(
                f"{self.source}: {name} is {tensor.dtype} {list(tensor.shape)}, expected a float tensor [{wanted_shape}]"
            )
        if not torch.isfinite(tensor).all():
            raise InvalidFileError(f"{self.source}: {name} holds NaN or infinity: the training that made it diverged")
        return tensor.detach().float()

    def leave(self, name: str) -> None:
        """Says that ``name`` is no part of the network, if there is such a tensor."""
        self._taken.add(name)

    def raw(self, name: str) -> str:
        """The name that a weight has in the file: itself, or that of the original under a parametrization."""
        if name in self._tensors:
            return name
        module, _, attribute = name.rpartition(".")
        parametrized = f"{module}.parametrizations.{attribute}.original".removeprefix(".")
        return parametrized if parametrized in self._tensors else name

    def check_all_taken(self) -> None:
        """Refuses a checkpoint with tensors that nothing was made of.

        Raises:
            InvalidFileError: with their names.
        """
        left = sorted(set(self._tensors) - self._taken)
        if left:
            raise InvalidFileError(
                f"{self.source}: tensors {', '.join(left)} have no place in the network that the side-car describes; "
                "name those that do not matter under 'ignored'"
            )


def read_tensors(path: str | Path) -> Tensors:
    """What ``read_state`` reads, by names that can be taken.

    Raises:
        InvalidFileError: missing, too large, corrupted, or something else.
    """
    return Tensors(read_state(path), str(path))


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors`` file, in a ``.pt`` or ``.pth`` that ``torch.save`` wrote, or in Keras's ``.h5``.

    No code is run.

    A dict that holds the state dict among other things is seen through, and so are the names of ``DataParallel``. Pruned
    weights (``NAME_orig``, ``NAME_mask``) are their products.

    Raises:
        InvalidFileError: missing, too large, corrupted, or something else.
        MissingRequirementError: a file of Keras, and h5py is not installed.
    """
    file = Path(path)
    content: Any
    if file.suffix in (".h5", ".hdf5", ".keras"):
        return read_keras_file(file)
    if file.suffix == ".safetensors":
        if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidFileError(f"{file}: no such file, or more than {MAX_FILE_BYTES} bytes; expected {_EXPECTED}")
        try:
            content = load_safetensors(file.read_bytes())
        except SafetensorError as error:
            raise InvalidFileError(f"{file}: not a safetensors file: {error}") from error
    else:
        content = read_torch_file(file, _EXPECTED)
        for key in _WRAPPERS:
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                content = content[key]
                break
    if not isinstance(content, dict) or not content:
        raise InvalidFileError(f"{file}: found {type(content).__name__}, expected {_EXPECTED}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InvalidFileError(
                f"{file}: {name!r} is {type(value).__name__}, expected {_EXPECTED}; save model.state_dict()"
            )
    if all(name.startswith(_PARALLEL) for name in content):
        content = {name.removeprefix(_PARALLEL): value for name, value in content.items()}
    return masked_products(content, str(file))
