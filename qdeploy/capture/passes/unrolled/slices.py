"""Where an unrolled graph takes single steps out of a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from ..access import attribute_int, attribute_ints, constant

__all__ = ["Group", "Slice", "Stages", "slices_of", "stages_of"]

# Fewer steps do not tell a loop from a model that handles its few rows one by one.
FEWEST_STEPS = 3


@dataclass(frozen=True)
class Group:
    """A sequence whose steps are all taken along ``axis``, one by one."""

    sequence: ir.Value
    axis: int
    steps: int


@dataclass(frozen=True)
class Slice:
    """Step ``index`` of a group; ``keeps_axis`` says that the axis is still there, of size one."""

    group: Group
    index: int
    keeps_axis: bool


# Of a value, the last step of each group that it depends on.
Stages = Mapping[Group, int]


def slices_of(graph: ir.Graph) -> dict[ir.Value, Slice]:
    """Values that are one step of a sequence of which every step is taken.

    Requires: the length of the sequences is known, as a tracer fixes it.
    """
    taken: dict[tuple[ir.Value, int], dict[ir.Value, tuple[int, bool]]] = {}
    for node in graph:
        sequence = node.inputs[0] if node.domain == "" and node.inputs else None
        if sequence is None or sequence.shape is None or constant(sequence) is not None:
            continue
        for axis, value, index, keeps_axis in _parts(node, len(sequence.shape)):
            length = sequence.shape[axis]
            if isinstance(length, int) and -length <= index < length:
                taken.setdefault((sequence, axis), {})[value] = (index % length, keeps_axis)
    found: dict[ir.Value, Slice] = {}
    for (sequence, axis), parts in taken.items():
        steps = sequence.shape[axis] if sequence.shape is not None else None
        if (
            isinstance(steps, int)
            and steps >= FEWEST_STEPS
            and {index for index, _ in parts.values()} == {*range(steps)}
        ):
            group = Group(sequence, axis, steps)
            found.update({value: Slice(group, index, keeps_axis) for value, (index, keeps_axis) in parts.items()})
    return found


def _parts(node: ir.Node, rank: int) -> list[tuple[int, ir.Value, int, bool]]:
    """Axis, value, index and whether the axis is kept, for every single step that ``node`` takes."""
    numbers = [None if value is None else constant(value) for value in node.inputs[1:]]
    first = numbers[0] if numbers else None
    output = node.outputs[0]
    if node.op_type == "Gather" and first is not None and first.size == 1 and first.ndim <= 1:
        return [(attribute_int(node, "axis", 0) % rank, output, int(first.reshape(-1)[0]), first.ndim == 1)]
    if node.op_type == "Split":
        axis, count = attribute_int(node, "axis", 0) % rank, len(node.outputs)
        sizes = attribute_ints(node, "split") or ([1] * count if first is None else [int(size) for size in first])
        return [(axis, value, index, True) for index, value in enumerate(node.outputs)] if sizes == [1] * count else []
    if (
        node.op_type != "Slice" or len(numbers) < 3 or any(array is None or array.size != 1 for array in numbers)
    ):  # starts, ends and axes
        return []
    start, end, axis, *step = [int(array.reshape(-1)[0]) for array in numbers if array is not None]
    single = step in ([], [1]) and (end == start + 1 or (start == -1 and end >= 1 << 31))
    return [(axis % rank, output, start, True)] if single else []


def stages_of(graph: ir.Graph, slices: Mapping[ir.Value, Slice]) -> dict[ir.Value, Stages]:
    """The last step of each group that a value depends on; nodes are sorted."""
    stages: dict[ir.Value, Stages] = {}
    for node in graph:
        reached: dict[Group, int] = {}
        for value in node.inputs:
            for group, index in stages.get(value, {}).items() if value is not None else ():
                reached[group] = max(index, reached.get(group, 0))
        for output in node.outputs:
            if output in slices:
                found = slices[output]
                stages[output] = {**reached, found.group: found.index}
            elif reached:
                stages[output] = reached
    return stages
