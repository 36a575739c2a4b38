"""A worker in a process of its own, of this machine or emulated: requests go in, replies come out."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from qdeploy.runtime import errors
from qdeploy.runtime.errors import ContractError, QdeployError

from .child_process import end_process
from .frames import receive, send

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["RemoteEngine", "WorkerProcess"]

#: Of what a process wrote before it died, so much of the last line is told.
_LONGEST_WORDS = 200


class WorkerProcess:
    """Starts when it is first asked; starts anew when it died of what it computed.

    Args:
        words: the command of a Python; the worker's script follows.
        folders: what comes first where that Python looks for modules.
        environment: of the process.
        name: what messages call it, such as "the emulated Python of pi4".
        board: what messages of its engines begin with, None for this machine.
        patience: seconds for a reply; a process that takes longer is ended. No bound where None.
    """

    def __init__(
        self,
        words: Sequence[str],
        folders: Sequence[str],
        environment: Mapping[str, str],
        name: str,
        *,
        board: str | None = None,
        patience: float | None = None,
    ) -> None:
        # Not from the working directory, which Python puts first for such a script.
        script = f"import sys; sys.path[:] = [*{list(folders)!r}, *filter(None, sys.path)]; "
        self._words = [*words, "-c", script + "from qdeploy.boards.worker import main; main()"]
        self._environment = dict(environment)
        self._name = name
        self._place = "" if board is None else f"on {board}: "
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
            self._process = subprocess.Popen(  # noqa: S603 (this Python, or our own emulated one)
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=self._environment,
            )
        return self._process

    def runs(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it is still this process that answers."""
        return self._process is process

    def ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """One request and its reply.

        Raises the error that the engine raised there, ContractError where the process died or did not answer.
        """
        process = self.process
        assert process.stdin is not None  # noqa: S101 (they are pipes)
        assert process.stdout is not None  # noqa: S101
        late = threading.Event()

        def end_it() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._patience, end_it) if self._patience is not None else None
        if timer is not None:
            timer.start()
        try:
            send(process.stdin, header, arrays)
            reply = receive(process.stdout)
        except (BrokenPipeError, EOFError):
            reply = None
        except ValueError as error:
            # What runs there wrote into its replies: nothing that follows can be read.
            self._end()
            raise ContractError(f"{self._name} gave a reply that is none: {error}") from error
        finally:
            if timer is not None:
                timer.cancel()
        if reply is None:
            # It has closed its end: it is dead, or about to be.
            process.wait()
            said = self._last_words()
            code = self._end()
            if late.is_set():
                raise ContractError(f"{self._name} did not answer within {self._patience:.0f} s and was ended")
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ContractError(f"{self._name} died ({how}) while it computed{said}")
        if "error" in reply[0]:
            kind = getattr(errors, reply[0]["error"], QdeployError)
            raise kind(f"{self._place}{reply[0]['message']}")
        return reply

    def close(self) -> None:
        """Ends the process."""
        self._end()

    def _last_words(self) -> str:
        """The last line that the process wrote to stderr."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines()]
        # qemu has the last word on a signal, which is told already; what goes well is no reason.
        told = [line for line in lines if line and not line.startswith(("qemu: uncaught target signal", "INFO:"))]
        return f": {told[-1][:_LONGEST_WORDS]}" if told else ""

    def _end(self) -> int:
        """Ends the process and closes its pipes; gives its exit code."""
        process, self._process = self._process, None
        written, self._errors = self._errors, None
        if written is not None:
            written.close()
        return 0 if process is None else end_process(process)


class RemoteEngine:
    """A model that is open in a worker; opened again where the process is another one by now.

    Args:
        process: the worker's.
        request: the header that opens it; ``arrays`` go with it.
        deadly: a model that ended its process once is not opened again: it may come from anybody, and another starts its process
            for nothing. Else the next call starts another.
    """

    def __init__(
        self,
        process: WorkerProcess,
        request: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        *,
        deadly: bool = False,
    ) -> None:
        self.name: str = request["runtime"]
        self._worker = process
        self._request = {"do": "open", **request}
        self._arrays = arrays
        self._deadly = deadly
        self._dead: ContractError | None = None
        self._open()

    def _open(self) -> None:
        reply, _ = self._worker.ask(self._request, self._arrays)
        self._number: int = reply["engine"]
        self.version: str = reply["version"]
        self._process = self._worker.process

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Computes once."""
        if self._dead is not None:
            raise self._dead
        try:
            if not self._worker.runs(self._process):
                self._open()
            return self._worker.ask({"do": "run", "engine": self._number}, feeds)[1]
        except ContractError as error:
            if self._deadly and not self._worker.runs(self._process):
                self._dead = error
            raise
