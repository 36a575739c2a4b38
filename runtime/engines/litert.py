"""The engine "litert": ai-edge-litert, else its older twin tflite-runtime, on the bundle's ``model.tflite``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qdeploy.runtime.c_samples import c_bundle
from qdeploy.runtime.errors import MissingRequirementError
from qdeploy.runtime.litert_interpreter import RESOLVERS, Border, LitertInterpreter, interpreter_module, version

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from qdeploy.runtime.model_source import ModelSource

__all__ = ["RESOLVERS", "LitertEngine", "interpreter_module", "version"]

#: Who gives the bytes of a bundle's model.tflite, made anew from its model.onnx.
_MAKER = "qdeploy.tflite_file"


class LitertEngine(LitertInterpreter):
    """The interpreter on the file that is made anew from the bundle's model.

    Args:
        source: an opened bundle.
        threads: of the interpreter.
        optimize: whether the runtime may take its default delegates.
        resolver: a name of RESOLVERS in place of that choice.
        delegate, delegate_options: as in :class:`~qdeploy.runtime.litert_options.LitertOptions`.

    Raises:
        UnsupportedModelError: an operator has no form for LiteRT, or the runtime lacks one; or nobody named the kernels, and they
            round some layer otherwise than its model says.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        threads: int = 1,
        optimize: bool = True,
        resolver: str | None = None,
        delegate: str | os.PathLike[str] | None = None,
        delegate_options: Mapping[str, str] | None = None,
    ) -> None:
        # Before anything is made: the answer to a missing package is quick.
        installed = version()
        files = c_bundle(source)
        chosen = resolver or ("default" if optimize else "plain")
        maker = _maker()
        if resolver is None:
            maker.check_kernels(files, installed, chosen)
        super().__init__(
            maker.trusted_tflite(files),
            Border.of(files.manifest),
            threads=threads,
            resolver=chosen,
            delegate=delegate,
            delegate_options=delegate_options,
        )


def _maker() -> Any:
    try:
        return import_module(_MAKER)
    except ImportError as error:
        raise MissingRequirementError(
            f"the writer of .tflite files cannot be imported ({error}); install qdeploy whole"
        ) from error
