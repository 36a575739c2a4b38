"""A program on an emulated processor: bytes go in, bytes come out."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from pathlib import Path

from qdeploy.export.c.targets import Target
from qdeploy.runtime.errors import ContractError

from .child_process import end_process
from .programs import emulator, find

__all__ = ["EmulatedProgram"]

_BARE = ("-display", "none", "-monitor", "none", "-serial", "none", "-nodefaults")
_SEMIHOSTING = ("-semihosting-config", "enable=on,target=native", "-kernel")


class EmulatedProgram:
    """Starts when it is first asked, and anew after it died.

    Args:
        target: names the emulator.
        program: the executable.

    Raises:
        MissingRequirementError: the emulator is missing, or too old to know the processor.
    """

    def __init__(self, target: Target, program: bytes) -> None:
        self._name = target.name
        self._folder = tempfile.TemporaryDirectory(prefix="qdeploy-board-")
        path = Path(self._folder.name) / "program"
        path.write_bytes(program)
        path.chmod(0o700)
        if target.emulator is not None:
            self._command = [*emulator(target.emulator), str(path)]
        else:
            name, *options = target.machine or ()
            self._command = [find(name), *options, *_BARE, *_SEMIHOSTING, str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes, size: int) -> bytes:
        """Sends a request and gives the ``size`` bytes of its reply.

        Raises:
            ContractError: the program ended instead: a fault, an instruction that the processor lacks, or a refusal.
        """
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 (an emulator of PATH, a program of ours)
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None  # noqa: S101 (they are pipes)
        assert sink is not None  # noqa: S101
        reply = b""
        # What went before the program ended does not matter.
        with contextlib.suppress(BrokenPipeError):
            sink.write(request)
            sink.flush()
            reply = source.read(size)
        if len(reply) != size:
            # It has closed its end: it is dead, or about to be.
            self._process.wait()
            code = self._end()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            msg = (
                f"the program on {self._name} ended ({how}) instead of answering: a fault, or an instruction it has not"
            )
            raise ContractError(msg)
        return reply

    def close(self) -> None:
        """Ends the process and takes the program away."""
        self._end()
        self._folder.cleanup()

    def _end(self) -> int:
        """Ends the process; gives its exit code. The next request starts another."""
        process, self._process = self._process, None
        return 0 if process is None else end_process(process)
