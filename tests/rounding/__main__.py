"""``make rounding-rules``: by which rule LiteRT's quantized operators round here, on other processors and on emulated boards.

Prints a line for each runtime, kernel set and operator: the rule of the project's table, all rules that fit what was found,
and how much was compared. Leaves with 1 where the table is wrong, with 4 where no runtime is installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from qdeploy.boards.litert_sysroot import LITERT_BOARDS, find_litert, litert_architecture
from qdeploy.boards.python_board import emulated_environment
from qdeploy.runtime.errors import MissingRequirementError
from qdeploy.runtime.litert_rules import ARM32, ARM64, FULLY_CONNECTED, X86_AVX, X86_SSE, kernel_rule, processor
from qdeploy.runtime.rounding import RULES

from ..verify.emulated import emulator
from .layers import ProbeLayer, layers

PROBE = Path(__file__).with_name("probe.py")
EMULATED = {"Haswell": X86_AVX, "SandyBridge": X86_AVX, "Nehalem": X86_SSE}
BOARDS = {"pi4": ARM64, "pi5": ARM64, "pi2": ARM32}
PATIENCE = 1800.0


@dataclass(frozen=True)
class Place:
    """Where a probe runs: its name, the processor as the table has it, the words that start a Python, folders of modules."""

    name: str
    processor: str | None
    command: Sequence[str]
    sites: Sequence[str] = ()


@dataclass
class Found:
    """What one kernel set gave for one operator: numbers compared, and how many each rule would have got wrong."""

    compared: int = 0
    wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    table: set[str | None] = field(default_factory=set)
    differing: int = 0

    @property
    def fitting(self) -> list[str]:
        """Rules that explain everything."""
        return [rule for rule, count in self.wrong.items() if count == 0]


def places(pythons: Sequence[str]) -> Iterator[Place]:
    """This machine and what it can emulate, with each of these Pythons."""
    for python in pythons:
        yield Place("here", processor(), [python])
    program = emulator()
    for name, where in EMULATED.items() if program is not None else ():
        for python in pythons:
            yield Place(name, where, [str(program), "-cpu", name, python])
    for board, where in BOARDS.items():
        try:
            sysroot = find_litert(litert_architecture(board))
        except MissingRequirementError as error:
            print(f"left out: {board}: {error}", file=sys.stderr)
            continue
        yield Place(board, where, sysroot.command(LITERT_BOARDS[board]), sysroot.sites)


def probed(place: Place, files: Path, folder: Path) -> dict[str, Any] | None:
    """What the probe found there, None where it failed."""
    results = folder / "results.npz"
    # NumPy first: a 32-bit qemu finds its libraries no longer once importlib.metadata was imported.
    script = (
        f"import runpy, sys; sys.path[:0] = {list(place.sites)!r}; import numpy; sys.argv[1:] = {[str(files), str(results)]!r}; "
        f"runpy.run_path({str(PROBE)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [*place.command, "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=emulated_environment(),
    )
    if done.returncode:
        print(f"rounding-rules: the probe did not run on {place.name}:\n{done.stderr}", file=sys.stderr)
        return None
    with np.load(results) as loaded:
        return dict(loaded)


def judged(place: Place, made: list[ProbeLayer], results: dict[str, Any]) -> dict[tuple[str, str, str], Found]:
    """By runtime, kernel set and operator: what the table says, and what fits."""
    found: dict[tuple[str, str, str], Found] = {}
    for key, y in results.items():
        package, version, resolver, number = key.split()
        layer = made[int(number)]
        use = layer.use
        one = use.operator == FULLY_CONNECTED and use.one_row == (True,)
        kind = f"{use.operator}{', one row' if one else ''}"
        entry = found.setdefault((f"{package} {version}", resolver, kind), Found())
        entry.compared += y.size
        for rule in RULES:
            entry.wrong[rule] += int(np.count_nonzero(layer.expected(rule) != y))
        if place.processor is not None:
            (rule,) = kernel_rule(package, version, resolver, place.processor, use)
            entry.table.add(rule)
            if rule is not None:
                entry.differing += int(np.count_nonzero(layer.expected(rule) != y))
    return found


def main() -> None:
    """Write the layers, probe every place, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.rounding", description=__doc__)
    parser.add_argument(
        "--python", action="append", default=[], help="another environment's Python, with its own runtime"
    )
    parser.add_argument("--place", action="append", choices=["here", *EMULATED, *BOARDS], help="only there")
    parser.add_argument("--runs", type=int, default=2, help="inputs of each layer")
    given = parser.parse_args()
    made = list(layers(runs=given.runs))
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("place", "runtime", "kernels", "operator", "table", "fits", "compared", "differing"):
        drawn.add_column(heading, no_wrap=True)
    failed = anything = False
    with tempfile.TemporaryDirectory(prefix="qdeploy-rounding-") as name:
        files = Path(name) / "layers.npz"
        contents = {f"content_{n}": np.frombuffer(layer.content, np.uint8) for n, layer in enumerate(made)}
        np.savez(files, **contents, **{f"x_{n}": layer.x for n, layer in enumerate(made)})
        for place in places([sys.executable, *given.python]):
            if given.place and place.name not in given.place:
                continue
            print(f"{place.name} …", file=sys.stderr)
            results = probed(place, files, Path(name))
            failed = failed or results is None
            for (runtime, resolver, kind), entry in judged(place, made, results or {}).items():
                anything = True
                failed = failed or entry.differing > 0
                table = ", ".join(sorted(rule or "several" for rule in entry.table)) or "not measured"
                fits = ", ".join(entry.fitting) or "none"
                cells = (place.name, runtime, resolver, kind, table, fits, f"{entry.compared:,}", str(entry.differing))
                drawn.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 160).print(drawn)
    if not anything:
        print("rounding-rules: no runtime of .tflite files here; pip install 'qdeploy[litert]'", file=sys.stderr)
        sys.exit(4)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
