"""Instructions of a step of LSTM in LiteRT on emulated boards: ``python -m benchmarks.litert.instructions [pi4 pi5]``.

A file is called twice and five times in the Python that ``qdeploy board setup`` makes; a plugin of qemu counts what the
process executes, and the difference is that of three calls. It is a measure of work, not of time. It takes minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.litert.built_in import drawn
from benchmarks.litert.interpreted import Interpreted
from qdeploy.boards.litert_sysroot import LitertSysroot, find_litert, litert_architecture
from qdeploy.runtime.litert_interpreter import PACKAGES

__all__ = ["Counter"]

STEPS = 64
SIZES = (64, 170, 512)
PROCESSORS = {"pi4": "cortex-a72", "pi5": "cortex-a76"}
FEW, MANY = 2, 5
PACKAGE = "ai-edge-litert"

_SCRIPT = """
import sys
sys.path[:0] = {sites}
import numpy as np
from {module} import Interpreter
feeds = dict(np.load({feeds}))
run = Interpreter(model_path={model}, num_threads=1).get_signature_runner("serving_default")
for _ in range({calls}):
    run(**feeds)
"""


class Counter:
    """Counts on one processor.

    Args:
        sysroot: of the boards' LiteRT.
        processor: qemu's name.
        folder: for the plugin and files.
    """

    def __init__(self, sysroot: LitertSysroot, processor: str, folder: Path) -> None:
        self._sysroot, self._processor, self._folder = sysroot, processor, folder
        self._plugin = folder / "count_instructions.so"
        source = Path(__file__).parent / "count_instructions.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", str(source), "-o", str(self._plugin)], check=True)

    def of_a_step(self, made: Interpreted, steps: int) -> int:
        """Instructions a step of calls of ``steps`` steps."""
        few, many = (self._executed(made, steps, calls) for calls in (FEW, MANY))
        return round((many - few) / (MANY - FEW) / steps)

    def _executed(self, made: Interpreted, steps: int, calls: int) -> int:
        model, feeds, count = (self._folder / name for name in ("model.tflite", "feeds.npz", "count"))
        model.write_bytes(made.content)
        np.savez(feeds, **{name: _cut(array, steps) for name, array in made.feeds.items()})
        script = _SCRIPT.format(
            sites=self._sysroot.sites,
            module=PACKAGES[PACKAGE],
            feeds=repr(str(feeds)),
            model=repr(str(model)),
            calls=calls,
        )
        emulator, *words = self._sysroot.command(self._processor)
        environment = {**os.environ, "QDEPLOY_INSTRUCTIONS": str(count), "OMP_NUM_THREADS": "1"}
        command = [emulator, "-plugin", str(self._plugin), *words, "-c", script]
        subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
        return int(count.read_text())


def _cut(array: np.ndarray, steps: int) -> np.ndarray:
    """The first steps of a sequence, whose axis of them is the longest; a state as it is."""
    axis = int(np.argmax(array.shape))
    return np.take(array, np.arange(steps), axis) if array.ndim > 2 else array


def main(words: Sequence[str] | None = None) -> None:
    """Prints a table for each board."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("boards", nargs="*", default=list(PROCESSORS), choices=list(PROCESSORS))
    boards = parser.parse_args(words).boards
    files = {hidden: drawn(hidden) for hidden in SIZES}
    names = list(files[SIZES[0]])
    for board in boards:
        print(f"{board}\n| H | {' | '.join(names)} |\n|---:|{'---:|' * len(names)}")
        with tempfile.TemporaryDirectory() as folder:
            counter = Counter(find_litert(litert_architecture(board)), PROCESSORS[board], Path(folder))
            for hidden, made in files.items():
                counts = [f"{counter.of_a_step(made[name], STEPS):,}" for name in names]
                print(f"| {hidden} | {' | '.join(counts)} |", flush=True)


if __name__ == "__main__":
    main()
