"""The parent: gives inputs to one child process, watches its time, starts it anew when it dies, keeps what failed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
#: Seconds that one input may take; the first answer of a child waits for its imports and seeds.
TIME_LIMIT = 10.0
START_LIMIT = 120.0
#: A child serves so many inputs: what libraries keep does not add up to the limit of memory.
INPUTS_A_CHILD = 1500


@dataclass
class Tally:
    """What became of a reader's inputs."""

    kinds: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.kinds.total()


def _copy(source: str, target: str) -> None:
    """A plain file or a link; a pipe cannot be copied and is named in the text."""
    if Path(source).is_symlink() or Path(source).is_file():
        shutil.copy2(source, target, follow_symlinks=False)


class Child:
    """A worker process."""

    def __init__(self) -> None:
        self._work = Path(tempfile.mkdtemp(prefix="qdeploy-fuzz-"))
        self.input = self._work / "input"
        self._log = (self._work / "log").open("w+b")
        reading, writing = os.pipe()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1", "MPLBACKEND": "agg"}
        environment["PYTHONPATH"] = str(ROOT)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", str(writing), str(self._work)],
            cwd=self._work,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(writing,),
        )
        os.close(writing)
        self._answers = reading
        self._pending = b""
        self.served = 0

    def ask(self, reader: str, campaign: object, index: int) -> None:
        """Have one input made and read; two answers follow, ``answer`` gives them."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that is gone answers nothing, which is seen there
            self._process.stdin.write(f"{reader}\t{campaign}\t{index}\n".encode())
            self._process.stdin.flush()

    def answer(self, limit: float) -> dict[str, Any] | None:
        """The next line; None where the child has died or is silent for longer than ``limit`` seconds."""
        until = time.monotonic() + limit
        while b"\n" not in self._pending:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                return None
            data = os.read(self._answers, 65536)
            if not data:
                return None
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def why(self) -> str:
        """How the child ended, or where it hangs, and its last words."""
        try:
            code = self._process.wait(timeout=0.5)
            how = f"died by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            how = "hangs"
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(0.5)
        self._log.flush()
        self._log.seek(0)
        return f"the process {how}\n" + self._log.read()[-4000:].decode("utf-8", "replace")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        os.close(self._answers)
        self._log.close()
        shutil.rmtree(self._work, ignore_errors=True)


class Campaign:
    """All inputs of one seed; ``tallies`` by reader."""

    def __init__(self, seed: object, say: Callable[[str], None]) -> None:
        self.seed = seed
        self.tallies: dict[str, Tally] = {}
        self._say = say
        self._child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def run(self, reader: str, first: int, count: int) -> Tally:
        """The inputs ``first`` to ``first + count - 1`` of ``reader``."""
        tally = self.tallies.setdefault(reader, Tally())
        for index in range(first, first + count):
            if self._child is not None and self._child.served >= INPUTS_A_CHILD:
                self._stop()
            self._child = self._child or Child()
            self._serve(self._child, reader, index, tally)
        return tally

    def _serve(self, child: Child, reader: str, index: int, tally: Tally) -> None:
        """One input. The child waits for the next one, so that this one's files can be kept."""
        child.ask(reader, self.seed, index)
        # The libraries' imports and the reader's seeds are a child's first work.
        if child.answer(START_LIMIT) is None:
            self._stop_at(child, reader, index, tally, "while the input was made: ")
            return
        answer = child.answer(TIME_LIMIT)
        if answer is None:
            self._stop_at(child, reader, index, tally, "")
            return
        child.served += 1
        tally.kinds[answer["kind"]] += 1
        tally.slowest = max(tally.slowest, answer["seconds"])
        if answer["kind"] == "failed":
            self._keep(child, reader, index, answer["detail"], tally)

    def _stop_at(self, child: Child, reader: str, index: int, tally: Tally, prefix: str) -> None:
        tally.kinds["failed"] += 1
        self._keep(child, reader, index, prefix + child.why(), tally)
        self._stop()

    def _keep(self, child: Child, reader: str, index: int, detail: str, tally: Tally) -> None:
        """The input, what happened, and the line that repeats it."""
        name = "".join(c if c.isalnum() else "-" for c in reader)
        folder = BUILD / f"{name}-{self.seed}-{index}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if child.input.is_dir():
            shutil.copytree(child.input, folder / "input", symlinks=True, copy_function=_copy)
        again = f"python -m tests.fuzz {reader!r} --seed {self.seed} --input {index}"
        # Names of files that are not UTF-8 hold lone surrogates.
        (folder / "failure.txt").write_text(f"{again}\n\n{detail}\n", encoding="utf-8", errors="backslashreplace")
        tally.failures.append(detail)
        lines = [line for line in detail.strip().splitlines() if line.strip()]
        last = ascii(lines[-1][:200]) if lines else ""
        self._say(f"FAILED {reader}, input {index}: {last}\n  again: {again}")
