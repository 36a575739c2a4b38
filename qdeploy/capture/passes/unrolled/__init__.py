"""An unrolled loop, as tracers write the loops of a program, becomes a Scan again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from ..access import attribute_int, constant, insert, new_initializer, replace
from .roll import Roller, RollError, Steps, local_key
from .slices import Slice, Stages, slices_of, stages_of

__all__ = ["roll_loops"]


def roll_loops(model: ir.Model) -> list[str]:
    """Replaces every chain of equal steps over the slices of a sequence by a Scan over the sequence.

    A chain is found from what it gives: a Concat of one value of every step (torch's stack), and the last value of what
    the next step would read. The steps are then walked backwards together: their operators have to be the same, constants
    equal, slices consecutive, and a value of the step before the same in every step.

    Requires: the lengths of the sequences are known. Ensures: the graph's nodes are sorted; what cannot be rolled stays.

    Returns:
        Why values of single steps are still read, one sentence each; empty where every one belonged to a chain.
    """
    graph = model.graph
    common.TopologicalSortPass()(model)
    slices = slices_of(graph)
    if not slices:
        return ["no sequence is read step by step from its first step to its last"]
    search = _Search(graph, slices)
    search.find()
    for roller in search.rollers:
        if roller.states:
            search.write(roller)
    common.TopologicalSortPass()(model)
    common.RemoveUnusedNodesPass()(model)
    if not any(roller.states for roller in search.rollers):
        return [*search.certain, *search.failures]
    _read_last_steps(graph, slices)
    left = [value for value in slices if any(value is output for node in graph for output in node.outputs)]
    kept = [f"step {slices[value].index} of {slices[value].group.sequence.name} is read alone" for value in left]
    return [*search.certain, *search.failures, *kept] if kept else []


class _Search:
    """Finds what is given by chains, and the chains."""

    def __init__(self, graph: ir.Graph, slices: dict[ir.Value, Slice]) -> None:
        self.graph = graph
        self.slices = slices
        self.stages = stages_of(graph, slices)
        self.rollers: list[Roller] = []
        # Why chains are none: what is certain, and what the first guess at a chain failed at.
        self.certain: list[str] = []
        self.failures: list[str] = []
        self.alike: dict[tuple[object, ...], list[ir.Node]] = {}
        # Results of the graph that a roller gives: one value of every step along an axis, and last values.
        self.stacks: dict[ir.Value, tuple[Roller, Steps, int]] = {}
        self.lasts: dict[ir.Value, tuple[Roller, Steps]] = {}
        # Results of loops that are written already, by what they replaced.
        self.written: dict[ir.Value, ir.Value] = {}
        for node in graph:
            self.alike.setdefault(local_key(node), []).append(node)

    def find(self) -> None:
        for node in self.graph:
            parts = _stacked(node)
            if parts is not None and any(self.stages.get(value) for value in parts[0]):
                roller = self._rolled(parts[0])
                if roller is not None:
                    self.stacks[node.outputs[0]] = (roller, *parts)
        seen: set[ir.Value] = set()
        pending = list(self.graph.outputs)
        for roller in self.rollers:
            pending += [state.initial for state in roller.states]
            pending += [group.sequence for group in roller.inputs]
        while pending:
            value = pending.pop()
            if value in seen or value in self.stacks or not self.stages.get(value):
                continue
            seen.add(value)
            found = self._state_of(value)
            if found is not None:
                roller = found[0]
                self.lasts[value] = found
                pending += [state.initial for state in roller.states]
                pending += [group.sequence for group in roller.inputs]
                continue
            producer = value.producer()
            pending += [one for one in producer.inputs if one is not None] if producer is not None else []

    def _state_of(self, last: ir.Value) -> tuple[Roller, Steps] | None:
        """The loop of which ``last`` is a state after the last step, and the state of every step."""
        steps = self._steps_of(last)
        roller = None if steps is None else self._rolled(steps, state=True)
        if steps is not None and roller is not None:
            return roller, steps
        # A loop that begins where another one of the same sequence ended: its nodes are evenly spaced all the same.
        told = len(self.failures)
        for steps in self._evenly_spaced(last):
            roller = self._rolled(steps, state=True)
            if roller is not None:
                del self.failures[told:]
                return roller, steps
        del self.failures[told:]
        return None

    def _evenly_spaced(self, last: ir.Value) -> Iterator[Steps]:
        node = last.producer()
        if node is None or last in self.slices:
            return
        alike, place = self.alike[local_key(node)], list(node.outputs).index(last)
        at = alike.index(node)
        for count in sorted({one.group.steps for one in self.slices.values()}):
            for distance in range(1, at // (count - 1) + 1):
                yield tuple(alike[at - distance * back].outputs[place] for back in reversed(range(count)))

    def _steps_of(self, last: ir.Value) -> Steps | None:
        """The values of all steps of which ``last`` is the last, by the order of equal nodes within a step."""
        node = last.producer()
        if node is None or last in self.slices:
            return None
        place = list(node.outputs).index(last)
        alike = self.alike[local_key(node)]
        final = self.stages[last]
        for group, index in final.items():
            if index != group.steps - 1:
                continue
            rank = [one for one in alike if self.stages.get(one.outputs[0]) == final].index(node)
            found = []
            for step in range(group.steps):
                candidates = [one for one in alike if _is_of(self.stages.get(one.outputs[0], {}), final, step)]
                candidates = [one for one in candidates if self.stages[one.outputs[0]][group] == step]
                found += [one.outputs[place] for one in candidates[rank : rank + 1]]
            if len(found) == group.steps:
                return tuple(found)
        return None

    def _rolled(self, steps: Steps, *, state: bool = False) -> Roller | None:
        """The roller that computes ``steps``: one that shares a value with them, or a new one."""
        for roller in self.rollers:
            if steps in roller.values:
                return roller if not state or any(one.new == steps for one in roller.states) else None
        fresh = Roller(self.graph, self.slices, len(steps))
        try:
            fresh.roll(steps)
        except RollError as error:
            self.failures.append(str(error))
            return None
        if state and all(one.new != steps for one in fresh.states):
            return None
        if not fresh.states and not state:
            return None
        if _reads_itself(fresh):
            self.certain.append(
                "a second loop reads every state of a first one and begins where it ended; let it read torch.stack of them"
            )
            return None
        for roller in self.rollers:
            shared = [one for one in fresh.values if one in roller.values and len(set(one)) == len(one)]
            if any(one[0] not in self.slices for one in shared):
                roller.roll(steps)
                return roller
        self.rollers.append(fresh)
        return fresh

    def write(self, roller: Roller) -> None:
        """Writes the Scan of ``roller`` and lets the graph read it."""
        states, groups = roller.states, list(roller.inputs)
        stacks = {value: (steps, axis) for value, (one, steps, axis) in self.stacks.items() if one is roller}
        news = [_copied(roller, roller.roll(state.new)) for state in states]
        shown = [_copied(roller, roller.values[steps]) for steps, _ in stacks.values()]
        body = ir.Graph(
            [*(state.old for state in states), *roller.inputs.values()],
            [*news, *shown],
            nodes=roller.nodes,
            name="step",
        )
        direction = int(bool(roller.backwards))
        read = [*(state.initial for state in states), *(group.sequence for group in groups)]
        read = [self.written.get(value, value) for value in read]
        before = next(iter(stacks), None) or next(value for value, (one, _) in self.lasts.items() if one is roller)
        producer = before.producer()
        if producer is None:
            raise ValueError(f"{before.name} has no producer")
        scan = insert(
            producer,
            "Scan",
            read,
            name="loop",
            attributes={"num_scan_inputs": len(groups)},
            outputs=len(states) + len(stacks),
        )
        scan.attributes["body"] = ir.AttrGraph("body", body)
        lists = {
            "scan_input_axes": [group.axis for group in groups],
            "scan_input_directions": [direction] * len(groups),
            "scan_output_axes": [axis for _, axis in stacks.values()],
            "scan_output_directions": [direction] * len(stacks),
        }
        for name, numbers in lists.items():
            scan.attributes[name] = ir.AttrInt64s(name, numbers)
        for output, value in zip(scan.outputs[len(states) :], stacks, strict=True):
            output.shape, output.type = value.shape, value.type
            replace(value, output)
            self.written[value] = output
        for output, state in zip(scan.outputs, states, strict=False):
            last = state.new[0] if roller.backwards else state.new[-1]
            output.shape, output.type = last.shape, last.type
            if last in self.lasts:
                replace(last, output)
                self.written[last] = output


def _reads_itself(roller: Roller) -> bool:
    """Whether an initial state comes from a state of the same loop: two loops that were rolled up into one."""
    own = {value for state in roller.states for value in state.new}
    pending, seen = [state.initial for state in roller.states], set[ir.Value]()
    while pending:
        value = pending.pop()
        if value in own:
            return True
        producer = value.producer()
        if value not in seen and producer is not None:
            pending += [one for one in producer.inputs if one is not None]
        seen.add(value)
    return False


def _copied(roller: Roller, value: ir.Value) -> ir.Value:
    """A value of the body as an output of its own: two outputs may be the same value, or an input."""
    node = ir.Node("", "Identity", [value])
    node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
    node.outputs[0].name = f"{value.name}_out"
    roller.nodes.append(node)
    return node.outputs[0]


def _is_of(found: Stages, final: Stages, step: int) -> bool:
    """Whether a value of these stages is of ``step``: of every sequence, or of another loop that has ended."""
    return found.keys() == final.keys() and all(index in {step, final[group]} for group, index in found.items())


def _stacked(node: ir.Node) -> tuple[Steps, int] | None:
    """The values that a node stacks along a new axis, and the axis."""
    if node.domain != "" or node.op_type != "Concat" or len(node.inputs) < 3:  # fewer are no loop
        return None
    axis = attribute_int(node, "axis", 0)
    parts = []
    for value in node.inputs:
        producer = None if value is None else value.producer()
        axes = constant(producer.inputs[1]) if producer is not None and producer.op_type == "Unsqueeze" else None
        if producer is None or axes is None or [int(one) for one in axes.reshape(-1)] != [axis]:
            return None
        if producer.inputs[0] is None:
            return None
        parts.append(producer.inputs[0])
    return tuple(parts), axis


def _read_last_steps(graph: ir.Graph, slices: dict[ir.Value, Slice]) -> None:
    """What reads the last step of a sequence counts from its end, which other lengths have as well."""
    for node in graph:
        found = slices.get(node.outputs[0]) if node.outputs else None
        if found is None or found.index != found.group.steps - 1 or node.op_type != "Gather":
            continue
        indices = constant(node.inputs[1])
        if indices is not None:
            node.replace_input_with(1, new_initializer(graph, "last.indices", np.full(indices.shape, -1, np.int64)))
            slices.pop(node.outputs[0])
