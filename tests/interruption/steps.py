"""A process that writes, and dies or fails at a chosen step of it.

``python -m tests.interruption.steps bundles|checkpoints FOLDER`` forks one process for every step of every kind of
writing, each in a folder of its own, and prints what became of them, one JSON object a line. Steps are the calls of the
operating system that change the disk: before each one the process is killed, after each one, and in the middle of each
write.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DEATHS = ("before", "halfway", "after")
CHANGES = ("mkdir", "open", "write", "fsync", "close", "rename", "replace", "rmdir", "unlink")
DESCRIBED: dict[str, Any] = {
    "architecture": "orthogonal-classifier",
    "hyperparameters": {"input_size": 1, "hidden_size": 8, "num_classes": 3, "activation": "relu", "weight_bits": 4},
}
OLD, NEW = b"old" * 50, b"new" * 70


class Steps:
    """Counts the calls that change the disk, and lets ``happen`` at the chosen ones."""

    def __init__(self, chosen: Callable[[int], bool], happen: Callable[[str, Callable[[], Any], tuple[Any, ...]], Any]):
        self.taken: list[str] = []
        self._chosen, self._happen = chosen, happen

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, counted."""

        def counting(*arguments: Any, **options: Any) -> Any:
            self.taken.append(name)
            if self._chosen(len(self.taken)):
                return self._happen(name, lambda: call(*arguments, **options), arguments)
            return call(*arguments, **options)

        return counting

    def install(self) -> None:
        """Puts itself between Python and the system, for the rest of the process."""
        from qdeploy.runtime import staging

        for name in CHANGES:
            setattr(os, name, self.counted(name, getattr(os, name)))
        staging._exchange = self.counted("exchange", staging._exchange)  # type: ignore[assignment]


def die(how: str) -> Callable[[str, Callable[[], Any], tuple[Any, ...]], Any]:
    """The process is killed before the call, after it, or, of a write, when half of its bytes are out."""

    def happen(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if how == "halfway":
            if name != "write":
                return call()
            os.pwrite(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], 0)
        elif how == "after":
            with contextlib.suppress(OSError):
                call()
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return happen


Writing = tuple[Callable[[Path], None], Callable[[Path], None]]
"""What stands there before, and what is killed, each in the folder that it is given."""


def checkpoints() -> dict[str, Writing]:
    """The files of a training: weights with their JSON, and the state to go on from."""
    import torch

    from qdeploy.models import build, save_checkpoint
    from qdeploy.models.training_state import STATE_KEYS, write_state

    torch.set_num_threads(1)

    def checkpoint(value: float) -> Callable[[Path], None]:
        def save(folder: Path) -> None:
            module = build(**DESCRIBED)
            module.output_bias.data.fill_(value)
            save_checkpoint(folder / "net", module, {**DESCRIBED, "value": value})

        return save

    def state(value: float) -> Callable[[Path], None]:
        return lambda folder: write_state(
            folder / "state.pt", dict.fromkeys(STATE_KEYS, value) | {"module": {"w": torch.full((50,), value)}}
        )

    return {
        "checkpoint": (nothing, checkpoint(2.0)),
        "checkpoint over checkpoint": (checkpoint(1.0), checkpoint(2.0)),
        "state": (nothing, state(2.0)),
        "state over state": (state(1.0), state(2.0)),
    }


def nothing(folder: Path) -> None:
    """Nothing stands there before."""


def bundles() -> dict[str, Writing]:
    """Folders and archives, alone and in the place of others."""
    from tests.export.test_bundle_writer import write

    old, new = {"model.onnx": OLD, "old.bin": OLD}, {"model.onnx": NEW, "example.py": NEW}

    def apart(folder: Path) -> None:
        from qdeploy.runtime import staging

        staging._exchange = lambda one, other: False  # type: ignore[assignment]
        write(folder / "out", new, force=True)

    return {
        "folder": (nothing, lambda folder: write(folder / "out", new)),
        "archive": (nothing, lambda folder: write(folder / "out", new, zipped=True)),
        "folder over folder": (
            lambda folder: write(folder / "out", old),
            lambda folder: write(folder / "out", new, force=True),
        ),
        "folder over folder, no exchange": (lambda folder: write(folder / "out", old), apart),
        "archive over archive": (
            lambda folder: write(folder / "out", old, zipped=True),
            lambda folder: write(folder / "out", new, zipped=True, force=True),
        ),
        "folder over archive": (
            lambda folder: write(folder / "out", old, zipped=True),
            lambda folder: write(folder / "out", new, force=True),
        ),
        "archive over folder": (
            lambda folder: write(folder / "out", old),
            lambda folder: write(folder / "out", new, zipped=True, force=True),
        ),
    }


def outcomes(writings: dict[str, Writing], folder: Path) -> Iterator[dict[str, Any]]:
    """Forks, waits and tells, kind by kind and step by step; each kind's steps are those of a process that is let be."""
    number = itertools.count()
    # A kill leaves what was written to the kernel: nothing has to wait for the disk.
    os.fsync = lambda descriptor: None
    for kind, (prepare, act) in writings.items():
        steps: list[str] = []
        for how, step in itertools.chain([("never", 0)], itertools.product(DEATHS, range(1, 200))):
            if step > len(steps) or (how == "halfway" and steps[step - 1] != "write"):
                continue
            case = folder / f"{next(number):04}"
            case.mkdir()
            prepare(case)
            reader, writer = os.pipe()
            process = os.fork()
            if not process:
                _child(act, case, how, step, writer)
            os.close(writer)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            with os.fdopen(reader, "rb") as told:
                taken = told.read().decode().split()
            if how == "never":
                steps = taken
            name = steps[step - 1] if step else ""
            yield {"kind": kind, "how": how, "step": step, "call": name, "folder": case.name, "exit": code}


def _child(act: Callable[[Path], None], case: Path, how: str, step: int, writer: int) -> None:
    """Never returns: nothing of the parent's, such as its output, is finished in the child as well."""
    code = 1
    write = os.write
    try:
        steps = Steps(step.__eq__, die(how))
        steps.install()
        act(case)
        write(writer, " ".join(steps.taken).encode())
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    for outcome in outcomes({"bundles": bundles, "checkpoints": checkpoints}[sys.argv[1]](), Path(sys.argv[2])):
        print(json.dumps(outcome))
