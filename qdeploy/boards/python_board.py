"""An arm64 board's Python, emulated: its engines, as if they were here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.runtime import errors
from qdeploy.runtime.errors import ContractError, QdeployError
from qdeploy.runtime.model_source import read_model

from .frames import receive, send
from .sysroot import board_processor, find_sysroot

if TYPE_CHECKING:
    import numpy.typing as npt

    from qdeploy.runtime.engines import Engine
    from qdeploy.runtime.model_source import ModelSource

__all__ = ["PythonBoard"]

#: Variables that name a processor's features: those of this machine would crash another.
_PINNED = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")
#: What is opened there: C is built here and runs without Python, and the sysroot has no LiteRT.
_ENGINES = ("numpy", "bodies", "onnxruntime")
_MAPPED = ("export", "runtime")


class PythonBoard:
    """One emulated process, started when it is first asked; started anew when it died of what it computed.

    Raises InvalidInputError for a board without such a Python, MissingRequirementError where the sysroot or qemu is missing.
    """

    def __init__(self, board: str) -> None:
        self.board: str | None = board
        self._command = find_sysroot().command(board_processor(board))
        self._site = find_sysroot().site
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="qdeploy-board-")
        _link_package(Path(self._folder.name) / "qdeploy")

    def available(self) -> dict[str, str | None]:
        """Each engine of the board with its version."""
        found: dict[str, str | None] = self.ask({"do": "available"}, {})[0]["available"]
        return {name: found[name] for name in _ENGINES}

    def open(self, runtime: str, model: ModelSource, *, threads: int, optimize: bool) -> Engine:
        """The model in an engine of the board; errors are those of ``open_engine``."""
        return _RemoteEngine(self, runtime, read_model(model).SerializeToString(), threads=threads, optimize=optimize)

    def close(self) -> None:
        """Ends the process."""
        self._end()
        self._folder.cleanup()

    def _end(self) -> int:
        """Ends the process and closes its pipes; gives its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                # What was not sent to a process that died cannot be flushed.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._process is None:
            inside = [self._folder.name, self._site]
            script = f"import sys; sys.path[:0] = {inside!r}; from qdeploy.boards.worker import main; main()"
            environment = {name: value for name, value in os.environ.items() if name not in _PINNED}
            environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
            self._process = subprocess.Popen(  # noqa: S603 (our own emulated Python)
                [*self._command, "-c", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    def ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """One request and its reply.

        Raises the error that the engine raised there, ContractError where the process died.
        """
        process = self.process
        assert process.stdin is not None  # noqa: S101 (they are pipes)
        assert process.stdout is not None  # noqa: S101
        try:
            send(process.stdin, header, arrays)
            reply = receive(process.stdout)
        except (BrokenPipeError, EOFError):
            reply = None
        if reply is None:
            # It has closed its end: it is dead, or about to be.
            process.wait()
            code = self._end()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            msg = f"the emulated Python of {self.board} died ({how}) while it computed"
            raise ContractError(msg)
        if "error" in reply[0]:
            kind = getattr(errors, reply[0]["error"], QdeployError)
            raise kind(f"on {self.board}: {reply[0]['message']}")
        return reply


class _RemoteEngine:
    """A model that is open on the board."""

    def __init__(self, board: PythonBoard, runtime: str, model: bytes, *, threads: int, optimize: bool) -> None:
        self.name = runtime
        self._board = board
        self._request = {"do": "open", "runtime": runtime, "threads": threads, "optimize": optimize}
        self._model = np.frombuffer(model, np.uint8)
        self._open()

    def _open(self) -> None:
        reply, _ = self._board.ask(self._request, {"model": self._model})
        self._number: int = reply["engine"]
        self.version: str = reply["version"]
        self._process = self._board.process

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        if self._process is not self._board.process:
            self._open()
        return self._board.ask({"do": "run", "engine": self._number}, feeds)[1]


def _link_package(folder: Path) -> None:
    """The package as it is imported, laid out as one folder: an emulated Python knows nothing of how it is installed here."""
    folder.mkdir()
    (top,) = import_module("qdeploy").__path__
    for entry in Path(top).iterdir():
        if entry.name not in _MAPPED and entry.name != "models":
            (folder / entry.name).symlink_to(entry.resolve())
    for name in _MAPPED:
        (part,) = import_module(f"qdeploy.{name}").__path__
        (folder / name).symlink_to(Path(part).resolve())
