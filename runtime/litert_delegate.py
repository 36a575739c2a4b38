"""An external delegate of LiteRT, from the shared library that a user names."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

__all__ = ["load_delegate"]

_FUNCTIONS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")
"""Source: ``tensorflow/lite/delegates/external/external_delegate_interface.h``."""
_LONGEST_MESSAGE = 300


def load_delegate(module: Any, path: str, options: Mapping[str, str]) -> Any:
    """The delegate of a library, which the interpreter must keep; its code runs from here on.

    Args:
        module: of the runtime's interpreter.
        path: of the library.
        options: handed to it.

    Raises:
        InvalidFileError: no shared library for this machine, or none of a delegate.
        InvalidInputError: the delegate refuses; the message holds its own words.
    """
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise InvalidFileError(
            f"{path}: cannot be loaded ({str(error)[:_LONGEST_MESSAGE]}); expected a delegate's shared library for this machine"
        ) from error
    # The runtime asks for them unseen, and once more when it throws half of a delegate away.
    lacking = [name for name in _FUNCTIONS if not hasattr(library, name)]
    if lacking:
        raise InvalidFileError(
            f"{path}: has no {lacking[0]}; expected the library of an external delegate of TensorFlow Lite, which has it"
        )
    try:
        return module.load_delegate(path, dict(options))
    except (ValueError, RuntimeError) as error:
        said = str(error).strip().replace("\n", " ")[:_LONGEST_MESSAGE]
        given = ", ".join(f"{key}={value}" for key, value in options.items()) or "none"
        raise InvalidInputError(f"{path}: the delegate refuses (options: {given}): {said}") from error
