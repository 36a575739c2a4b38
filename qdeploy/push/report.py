"""What a push found: the board, its verdict, its times beside this machine's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board import Board
    from .self_test import SelfTest

__all__ = ["ComparedTime", "PushReport", "compared_times", "verify_lines"]


@dataclass(frozen=True)
class ComparedTime:
    """One contestant's median in microseconds a step or sample, there and here; None where it was not measured."""

    name: str
    board: float | None
    here: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as long the board takes."""
        return None if self.board is None or self.here is None else self.board / self.here


@dataclass(frozen=True)
class PushReport:
    """What came back.

    Attributes:
        bundle: its path here.
        model_sha256: of its ``model.onnx``.
        address: of the board.
        board: what the board is.
        passed: whether every integer that was computed there is the right one.
        verify: the report of ``qdeploy verify --json`` there; None where Python was not used.
        verify_text: its lines.
        bench: the report of ``qdeploy bench --json`` there; None where nothing was measured.
        bench_here: the same of this machine.
        self_test: what the self-test program said there; None where it was not used.
        self_test_here: the same of this machine, where it was measured.
        times: the medians of both.
        kept: where the bundle stays there, None where it was removed.
        seconds: what each part took.
    """

    bundle: str
    model_sha256: str
    address: str
    board: Board
    passed: bool
    verify: Mapping[str, Any] | None
    verify_text: tuple[str, ...]
    bench: Mapping[str, Any] | None
    bench_here: Mapping[str, Any] | None
    self_test: SelfTest | None
    self_test_here: SelfTest | None
    times: tuple[ComparedTime, ...]
    kept: str | None
    seconds: Mapping[str, float]

    @property
    def _unit(self) -> str:
        if self.self_test is not None and self.self_test.unit is not None:
            return self.self_test.unit
        return str((self.bench or {}).get("unit", "step"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = asdict(self)
        for entry, time in zip(plain["times"], self.times, strict=True):
            entry["ratio"] = time.ratio
        return plain

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.address}: {line}" for line in self.board.lines()]
        lines += self.verify_text
        if self.self_test is not None:
            lines += self.self_test.lines()
        if self.times:
            lines += ["", *_table(self.times, self._unit)]
        if self.kept is not None:
            lines.append(f"the bundle stays at {self.address}:{self.kept}")
        return lines


def _table(times: tuple[ComparedTime, ...], unit: str) -> list[str]:
    width = max(14, *(len(time.name) + 2 for time in times))
    lines = [f"µs a {unit}, median, one thread, batch 1", f"{'':<{width}}{'board':>10}{'here':>10}  board / here"]
    for time in times:
        ratio = "" if time.ratio is None else f"{time.ratio:.1f}×"
        lines.append(f"{time.name:<{width}}{_number(time.board)}{_number(time.here)}  {ratio}".rstrip())
    return lines


def _number(value: float | None) -> str:
    return f"{'–':>10}" if value is None else f"{value:>10.2f}"


def compared_times(
    there: Mapping[str, Any] | None,
    here: Mapping[str, Any] | None,
    self_test: SelfTest | None = None,
    self_test_here: SelfTest | None = None,
) -> tuple[ComparedTime, ...]:
    """The medians of two reports of ``bench``, in the order of the board's, and the times of the self-test.

    Values that are no numbers are left out: one of the reports comes from another machine.
    """
    board, own = _medians(there), _medians(here)
    names = [*board, *(name for name in own if name not in board)]
    times = [ComparedTime(name, board.get(name), own.get(name)) for name in names]
    if self_test is not None and self_test.microseconds is not None:
        other = None if self_test_here is None else self_test_here.microseconds
        times.append(ComparedTime("C, self-test", self_test.microseconds, other))
    return tuple(times)


def _medians(bench: Mapping[str, Any] | None) -> dict[str, float]:
    rows = bench.get("rows") if bench is not None else None
    found: dict[str, float] = {}
    for row in rows if isinstance(rows, list | tuple) else []:
        if isinstance(row, Mapping) and isinstance(row.get("name"), str) and isinstance(row.get("median"), int | float):
            found[row["name"]] = float(row["median"])
    return found


def verify_lines(report: Mapping[str, Any]) -> tuple[str, ...]:
    """What ``qdeploy verify --json`` of another machine says, for people; it is taken for no more than JSON."""
    lines = []
    voices = report.get("voices")
    for voice in voices if isinstance(voices, list) else []:
        if not isinstance(voice, Mapping):
            continue
        wrong = voice.get("mismatched_integers")
        counted = f"{_count(voice.get('compared_integers')):>12} integers compared, {_count(wrong) if wrong else 'none'} differ"
        lines.append(f"{voice.get('name')!s:<36}{counted}")
        difference = voice.get("difference")
        if isinstance(difference, Mapping):
            place = f"node {difference.get('node')} ({difference.get('operator')}), tensor {difference.get('tensor')}"
            numbers = f"found {difference.get('found')}, {difference.get('judge')} gives {difference.get('expected')}"
            found = difference.get("problem") or numbers
            lines.append(f"  case {difference.get('case')}: {place}, index {difference.get('index')}: {found}")
    verdict = "passed: every runtime there gives the same bits" if report.get("passed") is True else "FAILED there"
    return (*lines, f"{verdict} ({_count(report.get('compared_integers'))} integers)")


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"
