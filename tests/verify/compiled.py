"""``make verify-c``, ``make verify-litert``: every shipped network in another form, compared with the reference bit for bit.

Each network is exported here; its C sources are made and compiled for this machine, or its .tflite file is made and run with
every kernel set of LiteRT. ``verify`` runs golden vectors, real samples, extremes, random integers and sequences in pieces.
Prints one table, and leaves with 1 where an integer differs or a network has no such form, with 4 where the compiler or
LiteRT is missing.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

import qdeploy
from qdeploy.listing import listing
from qdeploy.runtime.engines import available
from qdeploy.runtime.errors import MissingRequirementError, QdeployError

from .processors import export, shipped

MISSING = {
    "c": "no C compiler on this machine; apt install gcc, or pip install 'qdeploy[c]'",
    "litert": "no LiteRT on this machine; pip install 'qdeploy[litert]'",
}
REAL_SAMPLES = 16


@dataclass(frozen=True)
class Row:
    """What verify found of one network; ``problem`` says why there is nothing to compare."""

    network: str
    operators: str
    compared: int
    differing: int
    seconds: float
    problem: str

    @property
    def passed(self) -> bool:
        """Something was compared, and nothing differs."""
        return not self.problem and self.compared > 0 and self.differing == 0


def verify(bundle: qdeploy.Bundle, data: str | None, samples: int | None = None, runtime: str = "c") -> Row:
    """Compares the network in a runtime with the reference."""
    started = time.perf_counter()
    name, operators = bundle.path.name, ", ".join(sorted({layer.operator for layer in bundle.manifest.layers}))
    try:
        real = bundle.verify(runtimes=[runtime], samples=REAL_SAMPLES, data=data, case="data") if data else None
        report = bundle.verify(runtimes=[runtime], samples=samples)
    except MissingRequirementError:
        raise
    except QdeployError as error:
        return Row(name, operators, 0, 0, time.perf_counter() - started, str(error))
    reports = [found for found in (report, real) if found is not None]
    compiled = [voice for found in reports for voice in found.voices if voice.name.startswith(f"{runtime},")]
    problem = next((found.difference.lines()[0] for found in reports if found.difference is not None), "")
    return Row(
        name,
        operators,
        sum(voice.compared_integers for voice in compiled),
        sum(voice.mismatched_integers for voice in compiled),
        time.perf_counter() - started,
        problem,
    )


def table(rows: list[Row]) -> Table:
    """For a terminal."""
    drawn = Table(box=box.SIMPLE_HEAD)
    drawn.add_column("network", no_wrap=True)
    drawn.add_column("layers")
    for heading in ("integers", "differ", "seconds"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("problem")
    for row in rows:
        drawn.add_row(
            row.network, row.operators, f"{row.compared:,}", str(row.differing), f"{row.seconds:.1f}", row.problem
        )
    return drawn


def main() -> int:
    """All shipped networks whose data are here, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--output", type=Path, default=Path("build/compiled"))
    parser.add_argument("--samples", type=int)
    parser.add_argument("--runtime", choices=MISSING, default="c")
    given = parser.parse_args()
    if available()[given.runtime] is None:
        print(MISSING[given.runtime])
        return 4
    names, left_out = shipped()
    datasets = {entry.name: entry.details.get("dataset") for entry in listing("models")}
    given.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in given.names or names:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows.append(verify(export(name, given.output), datasets.get(name), given.samples, given.runtime))
    Console(width=None if sys.stdout.isatty() else 160).print(table(rows))
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    total = sum(row.compared for row in rows)
    failed = [row.network for row in rows if not row.passed]
    print(f"failed: {', '.join(failed)}" if failed else f"every integer agrees: {total:,} of {len(rows)} networks")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
