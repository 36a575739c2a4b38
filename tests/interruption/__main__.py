"""``make interrupt``: the kills, and one table of what they left."""

from __future__ import annotations

import argparse
import sys

from rich import box
from rich.console import Console
from rich.table import Table

from .kills import FOUND, MOMENTS, Kills, kill_exports


def table(result: Kills) -> Table:
    """Rows: fresh or over an existing bundle, and the moment; columns: what stood there afterwards."""
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("export", no_wrap=True)
    drawn.add_column("killed", no_wrap=True)
    for heading in ("kills", *FOUND):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for force in (False, True):
        for moment in MOMENTS:
            counts = [result.count(force=force, moment=moment, what=what) for what in FOUND]
            drawn.add_row("--force, over another" if force else "new", moment, *map(str, [sum(counts), *counts]))
    return drawn


def main() -> None:
    """Kill, tell, and leave with 1 where something was half-written."""
    parser = argparse.ArgumentParser(prog="python -m tests.interruption", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 110)
    watched = sys.stderr.isatty()
    try:
        result = kill_exports(
            given.kills,
            seed=given.seed,
            told=(lambda line: print(f"\r{line:60}", end="", file=sys.stderr)) if watched else lambda line: None,
        )
    except AssertionError as error:
        print(f"interrupt: {error}", file=sys.stderr)
        sys.exit(1)
    if watched:
        print(file=sys.stderr)
    console.print(table(result))
    print(
        f"{given.kills} kills: {result.count(moment=MOMENTS[0])} before, {result.count(moment=MOMENTS[1])} while, "
        f"{result.count(moment=MOMENTS[2])} after writing, which takes {result.writing_ms:.0f} ms; "
        f"{result.left_over} folders left over, all taken away by the next export"
    )
    if result.count(what=FOUND[3]):
        sys.exit(1)


if __name__ == "__main__":
    main()
