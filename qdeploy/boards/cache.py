"""Where the files of emulated boards lie: folders that are whole or absent, each with a record of what was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdeploy.runtime.errors import MissingRequirementError
from qdeploy.runtime.staging import NEW, staging, write_bytes

__all__ = ["RECORD", "cache_folder", "folder_size", "read_record", "take_away", "write_record"]

RECORD = "sysroot.json"
"""The record's name; a folder without it was made by nobody."""


def cache_folder() -> Path:
    """Where boards' files lie: ``$XDG_CACHE_HOME/qdeploy/boards``, by default ``~/.cache/qdeploy/boards``."""
    value = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says that a relative path is to be ignored.
    root = Path(value) if Path(value).is_absolute() else Path.home() / ".cache"
    return root / "qdeploy" / "boards"


def read_record(folder: Path, what: str, layout: int, advice: str) -> dict[str, Any]:
    """What was made in ``folder``.

    Args:
        folder: one of the cache.
        what: what lies there, for messages, such as "arm64 Python".
        layout: that of this version.
        advice: how it is made.

    Raises:
        MissingRequirementError: it is not there, damaged, or of another layout.
    """
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if found.pop("layout") != layout:
            raise MissingRequirementError(f"{folder} is of another version of qdeploy; {advice}")
    except FileNotFoundError as error:
        raise MissingRequirementError(f"there is no {what} at {folder}; {advice}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MissingRequirementError(f"{folder} is damaged ({error}); {advice}") from error
    return found


def write_record(folder: Path, values: Mapping[str, Any], layout: int) -> None:
    """The last thing that is written, before the folder is put in its place."""
    kept = {name: value for name, value in values.items() if name != "folder"}
    write_bytes(folder / RECORD, json.dumps(kept | {"layout": layout}, indent=2).encode())


def take_away(folder: Path) -> int:
    """Removes a folder; gives the bytes that were freed, 0 where there was none."""
    freed = folder_size(folder)
    if folder.exists():
        with staging(folder) as place:
            # Out of sight at once: nobody meets half of it.
            folder.rename(place / NEW)
    return freed


def folder_size(folder: Path) -> int:
    """The bytes of all files, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
