"""Weights that Keras 2 saved as HDF5, by the names of layers and weights; nothing outside of the file is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qdeploy.models.torch_file import MAX_FILE_BYTES
from qdeploy.runtime.errors import InvalidFileError, MissingRequirementError

__all__ = ["read_keras_file"]

_EXPECTED = "weights that Keras 2 saved (save_weights or save, .h5)"
_DEEPEST = 32
_MOST_WEIGHTS = 1 << 16


def read_keras_file(path: str | Path) -> dict[str, Tensor]:
    """The weights as float32 by ``layer.weight``: ``dense_1.kernel`` for ``dense_1/dense_1/kernel:0``.

    Where a layer has two weights of one last name (a model within the model), all parts of their paths stay, with dots.
    An optimizer's numbers are left out.

    Raises:
        InvalidFileError: missing, too large, corrupted, of another kind, or with links to other files.
        MissingRequirementError: h5py is not installed.
    """
    file = Path(path)
    try:
        import h5py
    except ImportError as error:
        raise MissingRequirementError(
            f"{file}: h5py is not installed, which reads files of Keras; install it with: pip install 'qdeploy[keras]'"
        ) from error
    if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
        raise InvalidFileError(f"{file}: no such file, or more than {MAX_FILE_BYTES} bytes; expected {_EXPECTED}")
    reader = _Reader(file, h5py)
    try:
        with h5py.File(file, "r") as content:
            root = content["model_weights"] if _is_group(content, "model_weights", h5py) else content
            for layer in root:
                reader.walk(root, layer, (), set())
    # h5py reports whatever its library finds wrong in one of these.
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise InvalidFileError(f"{file}: not a whole HDF5 file ({str(error)[:200]}); expected {_EXPECTED}") from error
    return _named(reader.found, file)


def _is_group(content: Any, name: str, h5py: Any) -> bool:
    return (
        name in content
        and isinstance(content.get(name, getlink=True), h5py.HardLink)
        and isinstance(content[name], h5py.Group)
    )


class _Reader:
    """Walks through groups along links within the file, each group once on its way."""

    def __init__(self, file: Path, h5py: Any) -> None:
        self.found: dict[tuple[str, ...], Tensor] = {}
        self._file = file
        self._h5py = h5py
        self._bytes = 0

    def walk(self, group: Any, name: str, path: tuple[str, ...], above: set[int]) -> None:
        here = (*path, name)
        where = "/".join(here)
        if not path and name in ("optimizer_weights", "top_level_model_weights"):
            return
        if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
            raise InvalidFileError(f"{self._file}: {where} is a link, expected the weights themselves")
        item = group[name]
        if isinstance(item, self._h5py.Group):
            address = int(self._h5py.h5o.get_info(item.id).addr)
            if address in above or len(here) > _DEEPEST:
                raise InvalidFileError(f"{self._file}: {where} lies within itself, or too deep; expected {_EXPECTED}")
            for inner in item:
                self.walk(item, inner, here, above | {address})
            return
        if not isinstance(item, self._h5py.Dataset) or item.is_virtual or item.external:
            raise InvalidFileError(f"{self._file}: {where} lies in another file, expected the numbers themselves")
        if item.dtype.kind not in "fiu" or item.shape is None:
            raise InvalidFileError(f"{self._file}: {where} holds {item.dtype}, expected numbers")
        # A compressed array may be far larger than the file.
        self._bytes += int(np.prod(item.shape, dtype=np.float64)) * 4
        if self._bytes > MAX_FILE_BYTES or len(self.found) >= _MOST_WEIGHTS:
            raise InvalidFileError(
                f"{self._file}: more than {MAX_FILE_BYTES} bytes of weights, expected a smaller network"
            )
        self.found[here] = torch.from_numpy(np.asarray(item[()], dtype=np.float32))


def _named(found: dict[tuple[str, ...], Tensor], file: Path) -> dict[str, Tensor]:
    if not found:
        raise InvalidFileError(f"{file}: holds no weights; expected {_EXPECTED}")
    if any(len(path) > 1 and path[-2] == "vars" for path in found):
        raise InvalidFileError(
            f"{file}: a file of Keras 3, which numbers its weights instead of naming them; expected {_EXPECTED}"
        )
    plain = {path: (path[0], path[-1].partition(":")[0]) for path in found}
    counts: dict[tuple[str, str], int] = {}
    for short in plain.values():
        counts[short] = counts.get(short, 0) + 1
    names = {path: ".".join(short if counts[short] == 1 else (*path[:-1], short[1])) for path, short in plain.items()}
    return {names[path]: tensor for path, tensor in found.items()}
