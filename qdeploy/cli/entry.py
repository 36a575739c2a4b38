"""Finds a user's own torch module by ``package.module:function``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from qdeploy.runtime.errors import InvalidInputError, MissingRequirementError

__all__ = ["module_of_entry"]


def module_of_entry(entry: str) -> Any:
    """Import the module (from the working folder too), call the function without arguments and return its result.

    Raises:
        InvalidInputError: the text has another form, or module or function does not exist.
        MissingRequirementError: the module needs a package that is not installed.

    """
    name, _, function_name = entry.partition(":")
    if not name or not function_name:
        raise InvalidInputError(f"--entry {entry!r}: expected package.module:function, such as mynet:build")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and name.split(".")[0] == error.name.split(".")[0]:
            raise InvalidInputError(f"--entry {entry!r}: no module {error.name!r} in {folder} or installed") from error
        raise MissingRequirementError(
            f"--entry {entry!r}: {name} needs the package {error.name!r}, which is not installed"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        there = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise InvalidInputError(
            f"--entry {entry!r}: {name} has no function {function_name!r}; it has {', '.join(there) or 'none'}"
        )
    return function()
