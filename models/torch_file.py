"""Reading what ``torch.save`` wrote: tensors and plain values, nothing else, and no tensor larger than its bytes."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["MAX_FILE_BYTES", "read_torch_file"]

# Far above the networks of this project, and below what a small machine's memory holds.
MAX_FILE_BYTES = 1 << 30
#: Dicts and lists within each other; a checkpoint has five levels.
_DEEPEST = 32


def read_torch_file(path: Path, what: str) -> Any:
    """The content of a ``.pt`` file; ``what`` it should be stands in messages.

    Ensures: every tensor in dicts, lists and tuples is dense, in memory, and has no more elements than its storage.

    Raises:
        InvalidFileError: missing, too large, truncated, corrupted, of another kind, or with more in it than tensors and
            plain values.
    """
    # Not a device or a pipe, which have no end.
    if not path.is_file():
        raise InvalidFileError(f"{path}: no such file; expected {what}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidFileError(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_FILE_BYTES} of {what}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidFileError(f"{path}: cannot be read ({error.strerror or error}); expected {what}") from error
    try:
        with warnings.catch_warnings():
            # Of a pickle that torch did not write it warns before it refuses; the refusal says enough.
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidFileError(
            f"{path}: holds Python objects that would run code when read, expected tensors and plain values only; nothing "
            f"was run; save model.state_dict() or a plain dict with torch.save, or use safetensors ({_first_line(error)})"
        ) from error
    except Exception as error:
        # torch's reader of pickles and archives raises whatever its steps meet: IndexError, struct.error and others.
        raise InvalidFileError(
            f"{path}: truncated, corrupted or not a file of torch.save ({_first_line(error)}); expected {what}"
        ) from error
    _check(content, path, 0)
    return content


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _check(value: Any, path: Path, depth: int) -> None:
    if depth > _DEEPEST:
        raise InvalidFileError(f"{path}: dicts and lists are nested more than {_DEEPEST} deep; save it again")
    if isinstance(value, Tensor):
        dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not dense or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise InvalidFileError(
                f"{path}: holds a tensor {list(value.shape)} that is sparse, quantized, on another device or larger than "
                "its data; expected dense tensors; save it again with torch.save"
            )
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            _check(item, path, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, path, depth + 1)
