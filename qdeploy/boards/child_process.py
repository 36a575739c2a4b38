"""The end of a process that talks through pipes."""

from __future__ import annotations

import contextlib
import subprocess

__all__ = ["end_process"]


def end_process(process: subprocess.Popen[bytes]) -> int:
    """Ends it, closes its pipes and gives its exit code."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            # What was not sent to a process that died cannot be flushed.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    return process.wait()
