"""Files that are whole or absent: written in a staging folder, then renamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qdeploy.runtime.staging import NEW, put, staging

__all__ = ["write_atomically"]


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Calls ``write`` with a temporary path beside ``path``, then renames it to ``path``.

    The folder is made if need be. When ``write`` fails, what it wrote is removed and ``path`` is as it was.

    Raises:
        InvalidInputError: ``path`` cannot be written.
        MissingRequirementError: there is no room for it on its disk.
    """
    with staging(path) as place:
        write(place / NEW)
        put(place / NEW, path, force=False)
