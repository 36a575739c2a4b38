"""What verify found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from qdeploy.runtime.errors import CheckFailedError

__all__ = ["Difference", "VerifyReport", "VoiceReport"]


@dataclass(frozen=True)
class Difference:
    """The first integer that differs in one voice: the first tensor in topological order, its earliest step.

    ``index`` is the place in the whole tensor; ``sample`` and ``step`` are its coordinates along batch and time, None
    where the tensor has no such axis. ``judge`` says against what: the reference, or the golden vectors, which the
    exporting machine's reference made. ``body`` names the standard operator inside the layer's body at which the NumPy
    executor and the voice part. ``problem`` stands in for the integers where a voice gave none.
    """

    voice: str
    judge: str
    case: str
    node: str
    operator: str
    tensor: str
    sample: int | None
    step: int | None
    index: tuple[int, ...]
    expected: int | float | None
    found: int | float | None
    body: str | None
    problem: str | None
    command: str

    def lines(self) -> list[str]:
        """For people."""
        place = "".join(
            f", {name} {value}" for name, value in (("sample", self.sample), ("step", self.step)) if value is not None
        )
        what = self.problem or f"found {self.found}, {self.judge} gives {self.expected}"
        where = f"node {self.node} ({self.operator}), tensor {self.tensor}{place}, index {list(self.index)}"
        lines = [f"{self.voice}: case {self.case}: {where}: {what}"]
        if self.body:
            lines.append(f"  inside: {self.body}")
        lines.append(f"  again:  {self.command}")
        return lines


@dataclass(frozen=True)
class VoiceReport:
    """One way of computing, and how much of it was compared."""

    name: str
    version: str
    compared_integers: int
    mismatched_integers: int
    difference: Difference | None


@dataclass(frozen=True)
class VerifyReport:
    """The result of a verification.

    ``cases`` counts the calls of each kind. ``saturations`` counts, by node, the values at a clipping bound on golden
    vectors and given data, out of ``saturation_samples`` samples: legal, and worth a look where there are many. ``remarks``
    say where else the bits hold, of a bundle that is not integer-only.
    """

    bundle: str
    judge: str
    seed: int
    samples: int
    cases: Mapping[str, int]
    voices: tuple[VoiceReport, ...]
    saturations: Mapping[str, int]
    saturation_samples: int
    left_out: tuple[str, ...]
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def compared_integers(self) -> int:
        """Over all voices."""
        return sum(voice.compared_integers for voice in self.voices)

    @property
    def mismatched_integers(self) -> int:
        """Over all voices."""
        return sum(voice.mismatched_integers for voice in self.voices)

    @property
    def difference(self) -> Difference | None:
        """The first voice's difference."""
        return next((voice.difference for voice in self.voices if voice.difference is not None), None)

    @property
    def passed(self) -> bool:
        """Something was compared and nothing differs."""
        return self.compared_integers > 0 and self.mismatched_integers == 0 and self.difference is None

    def raise_if_failed(self) -> None:
        """Raises CheckFailedError with the first difference."""
        if not self.passed:
            difference = self.difference
            raise CheckFailedError("\n".join(difference.lines()) if difference else "verify compared nothing")

    def _distinct(self) -> list[tuple[Difference, list[str]]]:
        """Each difference once, with the other voices that have the same."""
        distinct: dict[Difference, tuple[Difference, list[str]]] = {}
        for voice in self.voices:
            if voice.difference is not None:
                same = replace(voice.difference, voice="", command="", body=None)
                distinct.setdefault(same, (voice.difference, []))[1].append(voice.name)
        return [(difference, others[1:]) for difference, others in distinct.values()]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, totals included."""
        return {
            "passed": self.passed,
            "compared_integers": self.compared_integers,
            "mismatched_integers": self.mismatched_integers,
            **asdict(self),
        }

    def lines(self) -> list[str]:
        """For people."""
        width = max((len(voice.name) for voice in self.voices), default=0)
        lines = [
            f"{voice.name:<{width}}  {voice.compared_integers:>12,} integers compared, "
            f"{voice.mismatched_integers or 'none'} differ{'s' if voice.mismatched_integers == 1 else ''}"
            for voice in self.voices
        ]
        for difference, others in self._distinct():
            lines += difference.lines()
            lines += [f"  also:   {other}" for other in others]
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.cases.items())
        lines.append(f"calls: {kinds}")
        if self.saturations:
            worst = ", ".join(f"{node} {count:,}" for node, count in self.saturations.items())
            lines.append(f"saturated values in {self.saturation_samples} samples: {worst}")
        lines += [f"left out: {reason}" for reason in self.left_out]
        lines += self.remarks
        verdict = "passed: every runtime gives the same bits" if self.passed else "FAILED"
        lines.append(f"{verdict} ({self.compared_integers:,} integers, {self.seconds:.1f} s)")
        return lines
