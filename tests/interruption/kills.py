"""``kill -9`` at random moments of ``qdeploy export``, the real command in a process of its own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from qdeploy.cli.group import run
from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.reference import ReferenceModel

from ..quantize.networks import float_model
from ..quantize.test_networks import MLP, mlp_weights, pixels

__all__ = ["Kills", "kill_exports"]

MOMENTS = ("before writing", "while writing", "after writing")
FOUND = ("absent", "the old one", "the new one", "half-written")
PATIENCE = 60.0
"""Seconds in which an export of the tiny network must begin to write, however busy the machine is."""


@dataclass
class Kills:
    """What was found after the kills: (over an existing bundle, moment, what stood there) to how often."""

    found: Counter[tuple[bool, str, str]] = field(default_factory=Counter)
    left_over: int = 0
    seconds: float = 0.0
    writing_ms: float = 0.0

    def count(self, *, force: bool | None = None, moment: str | None = None, what: str | None = None) -> int:
        """How many kills were of this kind; None stands for any."""
        wanted = (force, moment, what)
        return sum(
            number
            for key, number in self.found.items()
            if all(w is None or w == k for w, k in zip(wanted, key, strict=True))
        )


def kill_exports(kills: int, *, seed: int = 0, told: Callable[[str], None] = lambda line: None) -> Kills:
    """Kills so many exports, half of them over an existing bundle, folders and archives in turns.

    A quarter dies at a moment between the start of the process and its undisturbed end, the others after they began to write.
    After each kill the bundle must be whole and of the bytes of an undisturbed export, or absent, or, with ``--force``,
    the old one, byte for byte: all else counts as half-written. Nothing beside it may be taken for a bundle, and the next
    export takes it away.

    Raises AssertionError where that does not hold.
    """
    with tempfile.TemporaryDirectory() as name:
        return _Exports(Path(name), random.Random(seed)).kill(kills, told)  # noqa: S311 - dice, no secret


class _Exports:
    def __init__(self, folder: Path, dice: random.Random) -> None:
        self._folder, self._dice = folder, dice
        onnx.save(float_model(MLP, mlp_weights()), folder / "mlp.onnx")
        np.savez(folder / "mlp.npz", x=pixels((16, 16)))
        self._bytes = {
            (zipped, generation): self._undisturbed(zipped, generation)
            for zipped in (False, True)
            for generation in ("old", "new")
        }

    def kill(self, kills: int, told: Callable[[str], None]) -> Kills:
        result = Kills()
        begin, duration = self._measure()
        result.writing_ms = duration * 1000
        started = time.perf_counter()
        for number in range(kills):
            force, zipped, anywhere = bool(number % 2), bool(number // 2 % 2), number // 4 % 4 == 0
            place = self._folder / f"{number}"
            place.mkdir()
            target = place / ("out.zip" if zipped else "out")
            if force:
                _restore(target, self._bytes[zipped, "old"])
            moment, what = self._kill_one(place, target, force, anywhere, begin, duration)
            result.found[force, moment, what] += 1
            result.left_over += self._cleaned(place, target)
            told(f"{number + 1} of {kills}: {moment}, {what}")
        result.seconds = time.perf_counter() - started
        return result

    def _kill_one(
        self, place: Path, target: Path, force: bool, anywhere: bool, begin: float, duration: float
    ) -> tuple[str, str]:
        zipped = target.suffix == ".zip"
        process = self._start(target, "new", force=force)
        try:
            if anywhere:
                time.sleep(self._dice.uniform(0, 1.1 * (begin + duration)))
            else:
                _wait_for_writing(place, process)
                _precise_sleep(self._dice.uniform(0, duration))
        finally:
            # One that has ended is nobody's to kill.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        assert code in (0, -signal.SIGKILL), f"the export itself failed with exit code {code}"
        beside = [path for path in place.iterdir() if path != target]
        what = self._what(target, zipped)
        assert what != "absent" or not force, "the previous bundle is gone"
        assert what != "the old one" or force
        for path in beside:
            assert path.name.startswith(f".{target.name}.qdeploy-"), path
            assert not (path / "manifest.json").exists(), "a left-over that looks like a bundle"
        return MOMENTS[1 if beside else 2 if what == "the new one" else 0], what

    def _what(self, target: Path, zipped: bool) -> str:
        if not os.path.lexists(target):
            return "absent"
        found = _content(target)
        generation = next((g for g in ("old", "new") if found == self._bytes[zipped, g]), None)
        if generation is None:
            return FOUND[3]
        _verify(target)
        return f"the {generation} one"

    def _cleaned(self, place: Path, target: Path) -> int:
        """The next export takes away what lies beside; how many left-overs there were."""
        beside = len([path for path in place.iterdir() if path != target])
        if beside:
            assert run(self._arguments(target, "new", force=True)) == 0
            assert self._what(target, target.suffix == ".zip") == "the new one"
        assert [path for path in place.iterdir() if path != target] == []
        return beside

    def _measure(self) -> tuple[float, float]:
        """Seconds from the start of a process to its first byte, and from there to the last: medians of three."""
        times = []
        for number in range(3):
            place = self._folder / f"measured-{number}"
            place.mkdir()
            started = time.perf_counter()
            process = self._start(place / "out", "new", force=False)
            _wait_for_writing(place, process)
            begun = time.perf_counter()
            while any(path.name.startswith(".") for path in place.iterdir()):
                pass
            ended = time.perf_counter()
            assert process.wait() == 0
            times.append((begun - started, ended - begun))
        begin, duration = (sorted(values)[1] for values in zip(*times, strict=True))
        return begin, duration

    def _undisturbed(self, zipped: bool, generation: str) -> dict[str, bytes]:
        target = self._folder / f"undisturbed-{generation}{'.zip' if zipped else ''}"
        process = self._start(target, generation, force=False)
        assert process.wait() == 0
        _verify(target)
        return _content(target)

    def _start(self, target: Path, generation: str, *, force: bool) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "qdeploy", *self._arguments(target, generation, force=force)]
        return subprocess.Popen(command, cwd=self._folder, start_new_session=True)

    def _arguments(self, target: Path, generation: str, *, force: bool) -> list[str]:
        """The two generations differ by the seed of their golden vectors."""
        words = ["export", str(self._folder / "mlp.onnx"), "--calibration", str(self._folder / "mlp.npz"), "-q"]
        words += ["-o", str(target), "--seed", str(int(generation == "new"))]
        return [*words, *(["--zip"] if target.suffix == ".zip" else []), *(["--force"] if force else [])]


def _wait_for_writing(place: Path, process: subprocess.Popen[bytes]) -> None:
    """Until a staging folder appears in ``place``, or the process ends."""
    limit = time.perf_counter() + PATIENCE
    while time.perf_counter() < limit:
        if any(path.name.startswith(".") for path in place.iterdir()):
            return
        if process.poll() is not None:
            return
    raise AssertionError("the export never began to write")


def _precise_sleep(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _verify(target: Path) -> None:
    """Opens the bundle, and lets the NumPy reference compute its golden vectors."""
    files = read_bundle(target)
    vectors = files.vectors()
    assert vectors
    for vector in vectors.values():
        outputs = ReferenceModel(files.model).run(vector.inputs).outputs
        for name, expected in vector.outputs.items():
            assert (outputs[name] == expected).all()


def _content(target: Path) -> dict[str, bytes]:
    """File name to bytes; an archive is one file without a name."""
    if target.is_file():
        return {"": target.read_bytes()}
    return {path.name: path.read_bytes() for path in target.iterdir()}


def _restore(target: Path, content: dict[str, bytes]) -> None:
    if set(content) == {""}:
        target.write_bytes(content[""])
        return
    target.mkdir()
    for name, data in content.items():
        (target / name).write_bytes(data)
