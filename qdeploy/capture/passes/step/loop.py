"""A loop of a graph, whichever operator it is written with."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

__all__ = ["Carried", "Loop", "Scanned", "Stacked"]


@dataclass(frozen=True)
class Carried:
    """A state.

    Attributes:
        old: the body's input.
        new: the body's output.
        initial: outside, before the first step.
        last: outside, after the last step; ``None`` where nothing reads it.
    """

    old: ir.Value
    new: ir.Value
    initial: ir.Value
    last: ir.Value | None


@dataclass(frozen=True)
class Scanned:
    """A sequence that the loop reads step by step along ``axis``; ``value`` is the body's name of one step.

    ``backwards`` says that the last step comes first.
    """

    value: ir.Value
    sequence: ir.Value
    axis: int
    backwards: bool = False


@dataclass(frozen=True)
class Stacked:
    """A sequence that the loop writes along ``axis``: what the body calls ``value``, of every step, or ``backwards``."""

    value: ir.Value
    sequence: ir.Value
    axis: int
    backwards: bool = False


@dataclass(frozen=True)
class Loop:
    """One loop over the steps of a sequence."""

    node: ir.Node
    body: ir.Graph
    states: tuple[Carried, ...]
    inputs: tuple[Scanned, ...]
    outputs: tuple[Stacked, ...]
