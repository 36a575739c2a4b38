"""``make verify-boards``: every shipped network on every emulated board.

The bundles are exported here, once; a name that is a path is a bundle already. Each is verified by C on all boards, by
onnxruntime on those of 64 bits, and by LiteRT on those that have one, with each of its kernel sets. What was done is kept in
``results.jsonl`` of the output folder: a run that was stopped goes on where it was, as long as the code is the same. Prints two
tables, and leaves with 1 where an integer differs, with 3 where a network has no form in C or LiteRT, with 4 where something is
missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

import qdeploy
from qdeploy.boards.overview import overview
from qdeploy.runtime.errors import UnsupportedModelError

from ..verify.processors import export, shipped

PATIENCE = 3600.0
#: They change nothing of what is computed.
_ASIDE = ("cli", "push", "studies", "datasets")


@dataclass(frozen=True)
class Row:
    """One network by one runtime on one board.

    ``problem``: why nothing was compared, or the first difference. ``unsupported``: it has no such form.
    """

    network: str
    board: str
    runtime: str
    compared: int
    differing: int
    seconds: float
    passed: bool
    problem: str | None
    unsupported: bool = False

    @property
    def where(self) -> str:
        """What a column is."""
        return self.board if self.runtime == "c" else f"{self.board} {self.runtime}"


def code_digest(runtime: str) -> str:
    """Of all code that a result of this runtime rests on: not what generates files for another one."""
    others = {"c": {"c"}, "tflite": {"litert"}}
    aside = {folder for folder, runtimes in others.items() if runtime not in runtimes}
    digest = hashlib.sha256()
    for package in ("qdeploy", "qdeploy.export", "qdeploy.runtime", "qdeploy.models"):
        (folder,) = import_module(package).__path__
        for path in sorted(Path(folder).rglob("*")):
            inner = path.relative_to(folder)
            generated = package == "qdeploy.export" and inner.parts[0] in aside and inner.name != "targets.py"
            if path.is_file() and path.suffix != ".pyc" and inner.parts[0] not in _ASIDE and not generated:
                digest.update(f"{package}/{inner}".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def places() -> list[tuple[str, str]]:
    """Boards and runtimes; leaves with 4 where one of them cannot run here."""
    entries = overview().boards
    missing = dict.fromkeys(reason for entry in entries for reason in entry.missing)
    if missing:
        print(*(f"verify-boards: {reason}" for reason in missing), sep="\n", file=sys.stderr)
        sys.exit(4)
    return [(entry.name, runtime) for entry in entries for runtime in entry.runtimes]


def verify(bundle: Path, boards: list[str], runtime: str, resolver: str | None = None) -> list[Row]:
    """On these boards at once, in a process of its own, as a user would call it; the time is shared out among them."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "qdeploy", "verify", str(bundle), "--board", ",".join(boards), "--runtime", runtime]
    words += ["--resolver", resolver] if resolver is not None and runtime == "litert" else []
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False, timeout=PATIENCE)
    seconds = (time.perf_counter() - started) / len(boards)
    if done.returncode not in (0, 1) or not done.stdout:
        problem = done.stderr.strip().splitlines()[0] if done.stderr.strip() else f"exit code {done.returncode}"
        no_form = done.returncode == UnsupportedModelError.exit_code
        return [
            Row(bundle.stem, board, runtime, 0, 0, seconds, passed=False, problem=problem, unsupported=no_form)
            for board in boards
        ]
    rows = []
    for board in boards:
        name = f"{runtime} on {board},"
        voices = [voice for voice in json.loads(done.stdout)["voices"] if voice["name"].startswith(name)]
        first = next((voice["difference"] for voice in voices if voice["difference"] is not None), None)
        compared = sum(voice["compared_integers"] for voice in voices)
        rows.append(
            Row(
                network=bundle.stem,
                board=board,
                runtime=runtime,
                compared=compared,
                differing=sum(voice["mismatched_integers"] for voice in voices),
                seconds=seconds,
                passed=compared > 0 and first is None,
                problem=None
                if first is None
                else f"{first['tensor']} {first['index']}: {first['problem'] or first['found']}",
            )
        )
    return rows


def by_network(rows: Iterable[Row]) -> Table:
    """One line a network."""
    drawn = _table("network", "boards", "integers\ncompared", "differing", "seconds")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.network, []).append(row)
    for network, group in groups.items():
        drawn.add_row(network, f"{sum(row.passed for row in group)} of {len(group)}", *_sums(group))
    return drawn


def by_board(rows: Iterable[Row]) -> Table:
    """One line a board and runtime."""
    drawn = _table("board", "networks", "integers\ncompared", "differing", "seconds")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.where, []).append(row)
    for where, group in groups.items():
        drawn.add_row(where, f"{sum(row.passed for row in group)} of {len(group)}", *_sums(group))
    return drawn


def _table(first: str, *headings: str) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column(first, no_wrap=True)
    for heading in headings:
        drawn.add_column(heading, justify="right", no_wrap=True)
    return drawn


def _sums(group: list[Row]) -> tuple[str, str, str]:
    compared, differing = sum(row.compared for row in group), sum(row.differing for row in group)
    return f"{compared:,}", str(differing), f"{sum(row.seconds for row in group):.0f}"


def read_results(path: Path) -> dict[tuple[str, str, str, str], Row]:
    """What earlier runs found, by network, board, runtime and code; a line that was cut off counts for nothing."""
    found: dict[tuple[str, str, str, str], Row] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        code = entry.pop("code")
        row = Row(**entry)
        found[row.network, row.board, row.runtime, code] = row
    return found


def main() -> None:
    """Export, emulate, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.boards.every", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/boards"))
    parser.add_argument("--board", action="append", help="only this board; may be repeated")
    parser.add_argument("--runtime", action="append", help="only this runtime; may be repeated")
    parser.add_argument("--resolver", help="of LiteRT only this kernel set: a third of the time")
    parser.add_argument("names", nargs="*", help="networks; all that are shipped when not given")
    given = parser.parse_args()
    wanted = [
        (board, runtime)
        for board, runtime in places()
        if (given.board is None or board in given.board) and (given.runtime is None or runtime in given.runtime)
    ]
    present, lacking = shipped()
    digests = {runtime: code_digest(runtime) for runtime in ("c", "onnxruntime", "litert")}
    given.output.mkdir(parents=True, exist_ok=True)
    results = given.output / "results.jsonl"
    known = read_results(results)
    rows: list[Row] = []
    for name in given.names or present:
        path = Path(name)
        bundle = path if path.exists() else given.output / name
        stamp = given.output / f"{name}.code"
        # A bundle that is given may become another.
        given_bundle = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for runtime, digest in digests.items():
            boards = [board for board, found in wanted if found == runtime]
            code = digest + given_bundle + (given.resolver or "" if runtime == "litert" else "")
            left = [board for board in boards if (bundle.stem, board, runtime, code) not in known]
            if left and bundle != path and (not stamp.exists() or stamp.read_text() != digests["onnxruntime"]):
                export(name, given.output)
                stamp.write_text(digests["onnxruntime"])
            for row in verify(bundle, left, runtime, given.resolver) if left else []:
                known[row.network, row.board, row.runtime, code] = row
                with results.open("a") as stream:
                    stream.write(json.dumps({**asdict(row), "code": code}) + "\n")
            for board in boards:
                row = known[bundle.stem, board, runtime, code]
                said = "passed" if row.passed else f"FAILED: {row.problem}"
                print(
                    f"{bundle.stem}: {row.where}: {row.compared:,} integers, {row.seconds:.0f} s: {said}",
                    file=sys.stderr,
                )
                rows.append(row)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(by_network(rows))
    console.print(by_board(rows))
    for row in rows:
        if not row.passed:
            print(f"{row.network} on {row.where}: {row.problem}")
    for name, why in lacking.items():
        print(f"left out: {name}: {why}")
    print(f"qdeploy {qdeploy.__version__}")
    if not all(row.passed for row in rows):
        sys.exit(3 if all(row.passed or row.unsupported for row in rows) else 1)


if __name__ == "__main__":
    main()
