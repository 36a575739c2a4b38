"""How LiteRT computes: which kernels, and a delegate that the user names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdeploy.runtime.errors import InvalidFileError, InvalidInputError

__all__ = ["RESOLVERS", "LitertOptions"]

RESOLVERS = {"default": "AUTO", "plain": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""Which kernels compute: with the delegates that the runtime takes by itself (XNNPACK), without them, the reference ones."""


@dataclass(frozen=True)
class LitertOptions:
    """What ``--resolver``, ``--delegate`` and ``--delegate-option`` say; they belong to the runtime litert alone.

    Attributes:
        resolver: a name of RESOLVERS; the caller's choice where None.
        delegate: a shared library with ``tflite_plugin_create_delegate``, which takes over what it can of the operators. Its code
            runs in this process: it is a file that the user names, never one of a bundle.
        delegate_options: handed to it as texts.

    Raises:
        InvalidInputError: another name of a resolver, options without a delegate.
        InvalidFileError: the delegate is no file.
    """

    resolver: str | None = None
    delegate: str | os.PathLike[str] | None = None
    delegate_options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.resolver is not None and self.resolver not in RESOLVERS:
            raise InvalidInputError(f"found the resolver {self.resolver!r}, expected one of {', '.join(RESOLVERS)}")
        if self.delegate is None:
            if self.delegate_options:
                raise InvalidInputError(
                    f"found the options {', '.join(self.delegate_options)} of a delegate, and no delegate; name its library"
                )
            return
        path = Path(self.delegate)
        if not path.is_file():
            raise InvalidFileError(
                f"{path}: is no file; expected the shared library of a delegate, such as libarmnnDelegate.so"
            )
        # A bare name would be looked up among the system's libraries.
        object.__setattr__(self, "delegate", str(path.resolve()))

    def __bool__(self) -> bool:
        """Whether anything is said at all."""
        return self.resolver is not None or self.delegate is not None

    def words(self) -> list[str]:
        """The command line's words for the same."""
        words = ["--resolver", self.resolver] if self.resolver is not None else []
        words += ["--delegate", str(self.delegate)] if self.delegate is not None else []
        for key, value in self.delegate_options.items():
            words += ["--delegate-option", f"{key}={value}"]
        return words

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``LitertOptions(**options.to_dict())`` is the same."""
        return {
            "resolver": self.resolver,
            "delegate": self.delegate,
            "delegate_options": dict(self.delegate_options),
        }
