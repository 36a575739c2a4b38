"""The engine "bodies": the standard operators of the functions' bodies, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.runtime.standard import BodyModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.runtime.engines.engine import Array
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["BodiesEngine", "version"]


def version() -> str:
    """NumPy's version."""
    return np.__version__


class BodiesEngine:
    """What any ONNX runtime that inlines functions computes, for machines that have none."""

    name = "bodies"
    version = np.__version__

    def __init__(self, source: ModelSource, *, threads: int = 1, optimize: bool = True) -> None:
        del threads, optimize  # NumPy has one way of computing.
        self._model = BodyModel(source)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once; integers wrap as ONNX's do."""
        return self._model.run(feeds)
