"""``python -m tests.fuzz``: mutated inputs for every reader, and a table of what became of them.

    python -m tests.fuzz [READER ...] [--inputs 30000] [--seed 0] [--input N]

``--inputs`` are shared among the readers; ``--input N`` repeats one. What failed lies in build/fuzz. Exit code 1 where
anything failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from .campaign import Campaign, Tally
from .readers import READERS

_ROUNDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--inputs", type=int, default=30_000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--input", type=int, help="only this one")
    given = parser.parse_args()
    names = given.readers or list(READERS)
    for name in names:
        if name not in READERS:
            parser.error(f"no reader {name!r}; there are {', '.join(READERS)}")
    whole = sum(READERS[name].share for name in names)
    counts = {name: 1 if given.input is not None else -(-given.inputs * READERS[name].share // whole) for name in names}
    begin = time.monotonic()
    with Campaign(given.seed, lambda text: print(text, flush=True)) as campaign:
        done = 0
        for name, count in counts.items():
            first = given.input or 0
            step = -(-count // _ROUNDS) if sys.stderr.isatty() else count
            for start in range(first, first + count, step):
                campaign.run(name, start, min(step, first + count - start))
                done += min(step, first + count - start)
                _progress(name, done, sum(counts.values()), time.monotonic() - begin)
        print("\n".join(table(campaign.tallies)))
    return int(any(tally.kinds["failed"] for tally in campaign.tallies.values()))


def _progress(name: str, done: int, total: int, seconds: float) -> None:
    end = "\r" if sys.stderr.isatty() and done < total else "\n"
    print(f"{done:6,} of {total:,}  {seconds / 60:5.1f} min  {name:<40}", end=end, file=sys.stderr, flush=True)


def table(tallies: dict[str, Tally]) -> list[str]:
    """Reader, inputs, accepted, refused with an error of ours, failures."""
    lines = [f"{'reader':<36}{'inputs':>8}{'accepted':>10}{'refused':>9}{'failures':>10}{'slowest':>10}"]
    whole = Tally()
    for name, tally in tallies.items():
        lines.append(_row(name, tally))
        whole.kinds += tally.kinds
        whole.slowest = max(whole.slowest, tally.slowest)
    return [*lines, _row("all", whole)]


def _row(name: str, tally: Tally) -> str:
    kinds = tally.kinds
    numbers = f"{tally.inputs:>8,}{kinds['accepted']:>10,}{kinds['refused']:>9,}{kinds['failed']:>10,}"
    return f"{name:<36}{numbers}{tally.slowest:>8.2f} s"


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.exit(main())
