"""``make verify-cpus``: every shipped network's bundle on other processors, emulated.

The bundles are exported here, once; their golden vectors carry this machine's integers there, where every runtime computes
them, random ones and extremes anew. Prints one table, and leaves with 1 where an integer differs, with 4 where the emulator
is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

import qdeploy
from qdeploy.listing import listing, missing_datasets
from qdeploy.runtime.bundle import read_bundle

from .emulated import PROCESSORS, emulated, emulator, features

MISSING = """verify-cpus: qemu-x86_64 is not on PATH. It is qemu's user mode emulation:
  Debian, Ubuntu:  apt-get install qemu-user
  Fedora:          dnf install qemu-user"""
SAMPLES = 8
"""Random samples of each network: emulation takes about ten times as long."""
PATIENCE = 1800.0


@dataclass(frozen=True)
class Row:
    """What verify found on one processor. ``steps``: of each sequence, None without a loop."""

    network: str
    processor: str
    steps: int | None
    compared: int
    differing: int
    seconds: float
    passed: bool


def shipped() -> tuple[list[str], dict[str, str]]:
    """Names of the shipped networks whose data are here, and why the others are left out."""
    needed = {entry.name: entry.details["dataset"] for entry in listing("models") if entry.details["shipped"]}
    problems = missing_datasets(needed.values())
    lacking = {name: problems[dataset] for name, dataset in needed.items() if dataset in problems}
    return [name for name in needed if name not in lacking], lacking


def export(name: str, folder: Path) -> qdeploy.Bundle:
    """The network's bundle under ``folder``, by the code as it is now."""
    return qdeploy.export_model(name, folder / name, limit=256, force=True)


def verify(bundle: qdeploy.Bundle, processor: str, samples: int = SAMPLES) -> Row:
    """All voices on the emulated processor."""
    started = time.perf_counter()
    words = ["-m", "qdeploy", "verify", str(bundle.path), "--samples", str(samples), "--json"]
    done = emulated(processor, *words, timeout=PATIENCE)
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"verify-cpus: {bundle.path.name} did not run on {processor}:\n{done.stderr}")
    report = json.loads(done.stdout)
    spec = bundle.manifest.inputs[0]
    steps = None
    if spec.time_axis is not None:
        steps = next(iter(read_bundle(bundle.path).vectors().values())).inputs[spec.name].shape[spec.time_axis]
    return Row(
        network=bundle.path.name,
        processor=processor,
        steps=steps,
        compared=report["compared_integers"],
        differing=report["mismatched_integers"],
        seconds=time.perf_counter() - started,
        passed=report["passed"],
    )


def table(rows: list[Row]) -> Table:
    """One row a network and processor."""
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("network", no_wrap=True)
    drawn.add_column("processor", no_wrap=True)
    for heading in ("steps", "integers\ncompared", "differing", "seconds"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        steps = "–" if row.steps is None else str(row.steps)
        cells = (f"{row.compared:,}", str(row.differing), f"{row.seconds:.0f}")
        drawn.add_row(row.network, row.processor, steps, *cells)
    return drawn


def main() -> None:
    """Export, emulate, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.verify.processors", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/processors"))
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    if emulator() is None:
        print(MISSING, file=sys.stderr)
        sys.exit(4)
    present, lacking = shipped()
    given.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in given.names or present:
        print(f"{name} …", file=sys.stderr)
        bundle = export(name, given.output)
        rows += [verify(bundle, processor) for processor in PROCESSORS]
    Console(width=None if sys.stdout.isatty() else 110).print(table(rows))
    for processor, reason in PROCESSORS.items():
        newest = [name for name in ("SSE42", "AVX", "AVX2", "AVX512F", "AVX512_ICL") if name in features(processor)][-1]
        print(f"{processor}: {reason}; numpy finds there up to {newest}")
    print(f"sequences of the golden vectors' length (at most 64 steps), {SAMPLES} random samples")
    for name, why in lacking.items():
        print(f"left out: {name}: {why}")
    if not all(row.passed for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
