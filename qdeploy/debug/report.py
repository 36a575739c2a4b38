"""What ``debug`` found, for machines and for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["DebugReport", "StepErrors", "TensorError"]

_NARROW = 10


@dataclass(frozen=True)
class TensorError:
    """One tensor of the integer network against the float one's.

    Attributes:
        layer, operator: of the node that gives it; ``input`` where the user does.
        tensor: its name; a state's is that of its graph output, or of all its steps.
        bits: of its integers.
        relative_error: the root mean square of the difference over that of the float values.
        sqnr: the same in dB; None where they are equal or the float values are all zero.
        type_sqnr: what the integer type alone costs: the float values rounded to it, in dB.
        saturated: the share of the layer's values at a clipping bound, of all steps.
    """

    layer: str
    operator: str
    tensor: str
    bits: int
    relative_error: float | None
    sqnr: float | None
    type_sqnr: float | None
    saturated: float


@dataclass(frozen=True)
class StepErrors:
    """A tensor over time.

    Attributes:
        layer, tensor: as in :class:`TensorError`.
        relative_error: of every step; None where the float values of the step are all zero.
        saturated: the share of the layer's values at a clipping bound, of every step; empty where a model takes no single
            steps.
    """

    layer: str
    tensor: str
    relative_error: tuple[float | None, ...]
    saturated: tuple[float, ...]

    @property
    def known(self) -> list[tuple[int, float]]:
        """Steps and errors, where there is one."""
        return [(step, value) for step, value in enumerate(self.relative_error) if value is not None]

    @property
    def drift(self) -> float | None:
        """The error of the last tenth of the steps over that of the first, None where there is none."""
        known = [value for _, value in self.known]
        part = max(1, len(known) // 10)
        if not known or not (first := float(np.mean(known[:part]))):
            return None
        return float(np.mean(known[-part:])) / first


@dataclass(frozen=True)
class DebugReport:
    """Where the integer network leaves the float one.

    Attributes:
        bundle: its path.
        float_source: what the float values come from.
        samples: sequences that were compared.
        runtime: which runtime gave the reference's integers for them too, None where none was asked.
        tensors: inputs, layers and outputs, in the order of the network.
        steps: of those with a time axis, the errors of every step.
    """

    bundle: str
    float_source: str
    samples: int
    runtime: str | None
    tensors: tuple[TensorError, ...]
    steps: tuple[StepErrors, ...]

    @property
    def worst(self) -> TensorError | None:
        """The tensor that adds most error: whose squared relative error exceeds that of all before it by most."""
        added, found, largest = 0.0, None, 0.0
        for tensor in self.tensors:
            power = (tensor.relative_error or 0.0) ** 2
            if power - largest > added:
                added, found = power - largest, tensor
            largest = max(largest, power)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        plain = asdict(self)
        for entry, steps in zip(plain["steps"], self.steps, strict=True):
            entry["drift"] = steps.drift
        return {**plain, "worst": None if self.worst is None else self.worst.tensor}

    def lines(self) -> list[str]:
        """For people."""
        same = "" if self.runtime is None else f"; {self.runtime} gives the same integers"
        lines = [f"{self.samples:,} samples, float values from {self.float_source}{same}", ""]
        lines.append(
            f"{'layer':24} {'operator':10} {'tensor':24} {'bits':>4} {'error':>9} {'SQNR':>8} {'type alone':>10} {'saturated':>9}"
        )
        lines += [
            f"{t.layer[:24]:24} {t.operator[:10]:10} {t.tensor[:24]:24} {t.bits:>4} {_percent(t.relative_error):>9} "
            f"{_decibel(t.sqnr):>8} {_decibel(t.type_sqnr):>10} {_percent(t.saturated):>9}"
            for t in self.tensors
        ]
        if self.worst is not None:
            operator = f" ({self.worst.operator})" if self.worst.operator else ""
            place = f"{self.worst.layer}{operator}"
            lines += [
                "",
                f"most error is added by {place}, tensor {self.worst.tensor}",
            ]
        return [*lines, *self._step_lines()]

    def _step_lines(self) -> list[str]:
        """The error of steps 1, 2, 4, 8, … and the last, and where it is largest."""
        moving = [steps for steps in self.steps if any(value for _, value in steps.known)]
        if not moving:
            return []
        count = max(len(steps.relative_error) for steps in moving)
        shown = sorted({*[1 << n for n in range(count.bit_length()) if 1 << n <= count], count})
        lines = ["", "relative error by step"]
        lines.append(f"{'layer':24} {'tensor':24} " + " ".join(f"{step:>{_NARROW - 1}}" for step in shown))
        for steps in moving:
            values = [steps.relative_error[step - 1] if step <= len(steps.relative_error) else None for step in shown]
            lines.append(
                f"{steps.layer[:24]:24} {steps.tensor[:24]:24} "
                + " ".join(f"{_percent(value):>{_NARROW - 1}}" for value in values)
            )
        lines.append("")
        for steps in moving:
            step, largest = max(steps.known, key=lambda item: item[1])
            drift = (
                "" if steps.drift is None else f"; the last tenth has {steps.drift:.3g} times the error of the first"
            )
            lines.append(f"{steps.tensor}: largest at step {step + 1} ({_percent(largest)}){drift}")
        return lines


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g} %"


def _decibel(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
