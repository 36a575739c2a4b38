"""The state file of a training: all that going on needs, read without running anything of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.staging import write_whole

from .torch_file import read_torch_file

__all__ = ["STATE_KEYS", "read_state", "write_state"]

STATE_KEYS = ("config", "module", "optimizer", "epoch", "history", "best", "best_weights")


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes ``state``, tensors and plain values under ``STATE_KEYS``, whole or not at all.

    Raises:
        InvalidInputError, MissingRequirementError: it cannot be written, or there is no room for it.
    """
    # Not by torch itself: of a full disk it only says that its writer failed.
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_whole(path, content.getvalue())


def read_state(path: Path) -> dict[str, Any]:
    """What ``write_state`` wrote.

    Raises:
        InvalidFileError: truncated, corrupted, of another kind, or with more in it than tensors and plain values.
    """
    state = read_torch_file(path, "a training state; remove it to begin anew, or do not resume")
    if not isinstance(state, dict) or set(state) != set(STATE_KEYS) or not _is_plain(state["config"]):
        raise InvalidFileError(f"{path}: not a training state; remove it to begin anew, or do not resume")
    content: dict[str, Any] = state
    return content


def _is_plain(value: Any) -> bool:
    """Whether ``value`` is of JSON's kinds: comparing tensors would give tensors."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float)
