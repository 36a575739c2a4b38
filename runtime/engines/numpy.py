"""The engine "numpy": the reference operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qdeploy.runtime.model_source import read_model
from qdeploy.runtime.reference import ReferenceModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.runtime.engines.engine import Array
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["NumpyEngine", "version"]


def version() -> str:
    """NumPy's version."""
    return np.__version__


class NumpyEngine:
    """Reads the operators of the domain ``qdeploy``; slow, and the judge of all others."""

    name = "numpy"
    version = np.__version__

    def __init__(self, source: ModelSource, *, threads: int = 1, optimize: bool = True) -> None:
        del threads, optimize  # NumPy has one way of computing.
        self._model = ReferenceModel(read_model(source))

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Computes once; a broken contract raises ContractError with the node's name."""
        return dict(self._model.run(dict(feeds)).outputs)
