"""LiteRT in a process of its own: it ends the process on some files, and that must end nothing else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import numpy as np

from .worker_process import RemoteEngine, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.litert_interpreter import Border
    from qdeploy.runtime.litert_options import LitertOptions

__all__ = ["LitertProcess", "litert_here"]

#: Seconds for one request: the largest batch of the slowest network takes a tenth of it. A loop in a file may never end.
_PATIENCE = 600.0


class LitertProcess:
    """A worker that opens .tflite files; a file that ended it stays closed, others are opened in the next one.

    Args:
        worker: the process.
        only_first: whether the first package that is installed is taken, as the engine does it, or each that is there.
    """

    def __init__(self, worker: WorkerProcess, *, only_first: bool = False) -> None:
        self._worker = worker
        self._only_first = only_first
        self._packages: dict[str, str] | None = None

    def packages(self) -> Mapping[str, str]:
        """The runtimes of .tflite files: package -> its name and version."""
        if self._packages is None:
            found: dict[str, str] = self._worker.ask({"do": "packages"}, {})[0]["packages"]
            self._packages = dict(list(found.items())[:1]) if self._only_first else found
        return self._packages

    def open(self, content: bytes, border: Border, *, package: str, options: LitertOptions, threads: int = 1) -> Engine:
        """A file in an interpreter.

        Raises what :class:`~qdeploy.runtime.litert_interpreter.LitertInterpreter` raises, ContractError where the process died.
        """
        request = {
            "runtime": "litert",
            "border": border.to_dict(),
            "threads": threads,
            "package": package,
            "options": options.to_dict(),
        }
        return RemoteEngine(self._worker, request, {"model": np.frombuffer(content, np.uint8)}, deadly=True)

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()


def litert_here() -> LitertProcess:
    """A child of this process, with the same Python and the same packages."""
    worker = WorkerProcess([sys.executable], sys.path, os.environ, "the process of LiteRT", patience=_PATIENCE)
    return LitertProcess(worker, only_first=True)
