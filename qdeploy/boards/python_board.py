"""An arm64 board's Python, emulated: its engines, as if they were here."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdeploy.runtime.model_source import read_model

from .sysroot import board_processor, find_sysroot
from .worker_process import RemoteEngine, WorkerProcess

if TYPE_CHECKING:
    import subprocess

    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.model_source import ModelSource

    from .litert_process import LitertProcess

__all__ = ["PythonBoard", "emulated_environment", "link_package"]

#: Variables that name a processor's features: those of this machine would crash another.
_PINNED = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")
#: What is opened there: C is built here and runs without Python, LiteRT has a Python of its own.
_ENGINES = ("numpy", "bodies", "onnxruntime")
_MAPPED = ("export", "runtime")


class PythonBoard:
    """One emulated process, started when it is first asked; started anew when it died of what it computed.

    Raises InvalidInputError for a board without such a Python, MissingRequirementError where the sysroot or qemu is missing.
    """

    def __init__(self, board: str) -> None:
        self.board: str | None = board
        command, site = find_sysroot().command(board_processor(board)), find_sysroot().site
        self._folder = tempfile.TemporaryDirectory(prefix="qdeploy-board-")
        link_package(Path(self._folder.name) / "qdeploy")
        self._worker = WorkerProcess(
            command,
            [self._folder.name, site],
            emulated_environment(),
            f"the emulated Python of {board}",
            board=board,
        )

    def available(self) -> dict[str, str | None]:
        """Each engine of the board with its version."""
        found: dict[str, str | None] = self._worker.ask({"do": "available"}, {})[0]["available"]
        return {name: found[name] for name in _ENGINES}

    def open(self, runtime: str, model: ModelSource, *, threads: int, optimize: bool) -> Engine:
        """The model in an engine of the board; errors are those of ``open_engine``."""
        content = np.frombuffer(read_model(model).SerializeToString(), np.uint8)
        request = {"runtime": runtime, "threads": threads, "optimize": optimize}
        return RemoteEngine(self._worker, request, {"model": content})

    def litert(self) -> LitertProcess | None:
        """None: this Python has no LiteRT."""
        return None

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()
        self._folder.cleanup()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        return self._worker.process


def emulated_environment() -> dict[str, str]:
    """This machine's environment without what names its processor; one thread for each library."""
    environment = {name: value for name, value in os.environ.items() if name not in _PINNED}
    return environment | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}


def link_package(folder: Path) -> None:
    """The package as it is imported, laid out as one folder: an emulated Python knows nothing of how it is installed here."""
    folder.mkdir()
    (top,) = import_module("qdeploy").__path__
    for entry in Path(top).iterdir():
        if entry.name not in _MAPPED and entry.name != "models":
            (folder / entry.name).symlink_to(entry.resolve())
    for name in _MAPPED:
        (part,) = import_module(f"qdeploy.{name}").__path__
        (folder / name).symlink_to(Path(part).resolve())
