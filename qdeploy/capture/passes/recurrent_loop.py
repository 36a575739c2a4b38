"""A Loop over the steps of a sequence becomes the operators that its step is made of."""

from __future__ import annotations

import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from .access import attribute_int, constant, label
from .step import Carried, Loop, Scanned, Stacked, convert_loop, through_identity

__all__ = ["convert_loops"]

# Operators between a sequence's shape and the number of steps.
_OF_SHAPES = frozenset({"Gather", "Squeeze", "Unsqueeze", "Cast", "Identity", "Slice", "Reshape"})


def convert_loops(model: ir.Model) -> None:
    """Replaces every Loop that takes step after step of sequences by ``RNN``, ``GRU``, ``LSTM`` ... of the float domain.

    Read are loops as exporters write them for a layer over time: the number of trips is the sequence's length, the condition
    stays true, and the body takes ``x[i]`` out of the sequences by the number of the trip.

    Ensures: no Loop is left.

    Raises:
        UnsupportedModelError: another number of trips or condition, another use of the trip's number, or a state that no
            operator computes.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Loop":
            convert_loop(_loop(node))


def _loop(node: ir.Node) -> Loop:
    body, where = node.attributes["body"].as_graph(), label(node)
    count = len(node.inputs) - 2
    if count < 0 or len(body.inputs) != count + 2 or len(body.outputs) < max(count, len(node.outputs)) + 1:
        raise UnsupportedModelError(
            f"{where}: its inputs and those of its body do not go together; export the model again"
        )
    if not _stays_true(node.inputs[1], body):
        raise UnsupportedModelError(f"{where}: it may end before its last trip, expected a condition that stays true")
    trip = body.inputs[0]
    inputs = []
    for step in body:
        sequence = step.inputs[0] if step.domain == "" and step.op_type == "Gather" else None
        index = step.inputs[1] if sequence is not None else None
        if sequence is None or index is None or through_identity(index) is not trip or sequence.graph is body:
            continue
        if constant(sequence) is not None:
            raise UnsupportedModelError(f"{where}: {label(step)} takes constants by the number of the trip")
        inputs.append(Scanned(step.outputs[0], sequence, attribute_int(step, "axis", 0)))
    if not inputs:
        raise UnsupportedModelError(
            f"{where}: no sequence is read step by step; expected a Gather of one step by the number of the trip"
        )
    if not any(_is_length(node.inputs[0], scanned) for scanned in inputs):
        raise UnsupportedModelError(
            f"{where}: the number of trips is not the length of {inputs[0].sequence.name}, expected every step of it"
        )
    states = []
    for place in range(count):
        initial = node.inputs[place + 2]
        if initial is None:
            raise UnsupportedModelError(f"{where}: input {place + 2} is missing; export the model again")
        states.append(Carried(body.inputs[place + 2], body.outputs[place + 1], initial, _result(node, place)))
    outputs = []
    for place in range(count, len(body.outputs) - 1):
        sequence = _result(node, place)
        if sequence is not None:
            outputs.append(Stacked(body.outputs[place + 1], sequence, 0))
    return Loop(node, body, tuple(states), tuple(inputs), tuple(outputs))


def _result(node: ir.Node, place: int) -> ir.Value | None:
    value = node.outputs[place] if place < len(node.outputs) else None
    return None if value is None or value.name == "" else value


def _stays_true(condition: ir.Value | None, body: ir.Graph) -> bool:
    """Whether the condition is true before the loop, and handed on or true in it."""
    first = constant(condition)
    following = through_identity(body.outputs[0])
    array = constant(following)
    handed_on = following is body.inputs[1] or (array is not None and bool(array.all()))
    return handed_on and (condition is None or (first is not None and bool(first.all())))


def _is_length(trips: ir.Value | None, scanned: Scanned) -> bool:
    """Whether the number of trips is the size of a sequence along its axis."""
    shape = scanned.sequence.shape
    size = None if shape is None else shape[scanned.axis]
    array = constant(trips)
    if array is not None:
        return isinstance(size, int) and int(array.reshape(-1)[0]) == size
    node = None if trips is None else trips.producer()
    picked: int | None = None
    while node is not None and node.domain == "" and node.op_type in _OF_SHAPES:
        index = constant(node.inputs[1]) if node.op_type in {"Gather", "Slice"} else None
        if index is not None:
            picked = int(index.reshape(-1)[0])
        node = None if node.inputs[0] is None else node.inputs[0].producer()
    if node is None or node.op_type != "Shape" or node.inputs[0] is None:
        return False
    rank = None if shape is None else len(shape)
    axis = attribute_int(node, "start", 0) + (picked or 0)
    same = node.inputs[0] is scanned.sequence
    return same and rank is not None and axis % rank == scanned.axis % rank
