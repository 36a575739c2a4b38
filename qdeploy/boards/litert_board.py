"""LiteRT on an emulated board: a process of its own, with a Python that may have no onnx."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qdeploy.runtime.errors import UnsupportedModelError

from .litert_process import LitertProcess
from .litert_sysroot import LITERT_BOARDS, find_litert, litert_architecture
from .python_board import emulated_environment, link_package
from .worker_process import WorkerProcess

if TYPE_CHECKING:
    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["LitertBoard"]


class LitertBoard:
    """Every runtime of .tflite files that the board has.

    Raises InvalidInputError for a board that runs none, MissingRequirementError where the sysroot or qemu is missing.
    """

    def __init__(self, board: str) -> None:
        self.board: str | None = board
        sysroot = find_litert(litert_architecture(board))
        command = sysroot.command(LITERT_BOARDS[board])
        self._folder = tempfile.TemporaryDirectory(prefix="qdeploy-board-")
        link_package(Path(self._folder.name) / "qdeploy")
        worker = WorkerProcess(
            command,
            [self._folder.name, *sysroot.sites],
            emulated_environment(),
            f"the process of LiteRT on {board}",
            board=board,
        )
        self._process = LitertProcess(worker)

    def available(self) -> dict[str, str | None]:
        """LiteRT alone."""
        return {"litert": ", ".join(self._process.packages().values()) or None}

    def open(self, runtime: str, model: ModelSource, *, threads: int, optimize: bool) -> Engine:
        """Nothing: what runs here are .tflite files.

        Raises:
            UnsupportedModelError: always.
        """
        del model, threads, optimize
        raise UnsupportedModelError(f"{runtime} on {self.board} opens .tflite files alone")

    def litert(self) -> LitertProcess | None:
        """The board's process."""
        return self._process

    def close(self) -> None:
        """Ends the process."""
        self._process.close()
        self._folder.cleanup()
