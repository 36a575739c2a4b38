"""ONNX RNN, GRU and LSTM of the reverse direction, or of both, become operators that read forwards."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from .access import constant, insert, is_zero, label, new_initializer, replace

__all__ = ["split_directions"]

_OPERATORS = ("RNN", "GRU", "LSTM")
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_SEQUENCE, _WEIGHTS, _STATES, _PEEPHOLES = 0, (1, 2, 3), (5, 6), 7


def split_directions(model: ir.Model) -> None:
    """Replaces every such operator by one a direction, that of the reverse one between two Slices which turn time round.

    Requires: they have no sequence_lens (``drop_full_lengths``), and time is the first axis.

    Ensures: every RNN, GRU and LSTM operator has the direction ``forward``; what it read and gave is unchanged.

    Raises:
        UnsupportedModelError: an unknown direction, or weights that are not constant.
    """
    for node in list(model.graph):
        if node.domain != "" or node.op_type not in _OPERATORS:
            continue
        found = node.attributes.get("direction")
        name = "forward" if found is None else found.as_string()
        if name not in _DIRECTIONS:
            raise UnsupportedModelError(
                f"{label(node)}: direction={name[:40]!r}, expected one of {', '.join(_DIRECTIONS)}; export the model again"
            )
        if name != "forward":
            _split(node, model.graph, _DIRECTIONS[name])


def _split(node: ir.Node, graph: ir.Graph, directions: tuple[bool, ...]) -> None:
    where, name = label(node), node.name or node.op_type.lower()
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    parts: list[list[ir.Value]] = []
    for place, reverse in enumerate(directions):
        values: list[ir.Value | None] = list(inputs)
        values[_SEQUENCE] = turned(node, graph, inputs[_SEQUENCE], 0) if reverse else inputs[_SEQUENCE]
        for index in (*_WEIGHTS, _PEEPHOLES):
            value = inputs[index]
            array = constant(value)
            if value is not None and array is None:
                raise UnsupportedModelError(
                    f"{where}: {value.name} is computed by the graph, expected constant weights"
                )
            if array is not None and array.shape[0] != len(directions):
                raise UnsupportedModelError(
                    f"{where}: input {index} has the shape {list(array.shape)}, expected {len(directions)} directions first"
                )
            if array is not None:
                values[index] = new_initializer(graph, f"{name}.{index}.{place}", array[place : place + 1])
        for index in _STATES:
            state = inputs[index]
            if state is not None and len(directions) > 1:
                values[index] = None if is_zero(state) else _one_direction(node, graph, state, place)
        attributes: dict[str, int | float | str | list[int] | list[str] | list[float]] = {}
        for key, attribute in node.attributes.items():
            if key == "direction":
                continue
            value_of = attribute.value
            if key.startswith("activation"):
                # Lists of the forward direction's, then of the reverse one's.
                size = len(value_of) // len(directions)
                value_of = value_of[place * size : (place + 1) * size]
            attributes[key] = value_of
        layer = insert(
            node,
            node.op_type,
            values,
            name=f"{name}_reverse" if reverse else name,
            attributes=attributes,  # type: ignore[arg-type]  # whatever the file holds goes over unchanged
            outputs=len(node.outputs),
        )
        results = list(layer.outputs)
        if reverse:
            results[0] = turned(node, graph, results[0], 0)
        parts.append(results)
    for index, output in enumerate(node.outputs):
        if output.name == "":
            continue
        # Y [T, directions, B, H]; Y_h and Y_c [directions, B, H].
        axis = 1 if index == 0 else 0
        joined = [results[index] for results in parts]
        value = joined[0]
        if len(joined) > 1:
            value = insert(node, "Concat", joined, attributes={"axis": axis}).outputs[0]
        replace(output, value)
    graph.remove(node, safe=True)


def turned(node: ir.Node, graph: ir.Graph, value: ir.Value | None, axis: int) -> ir.Value:
    """``value`` from its last step to its first."""
    if value is None:
        raise UnsupportedModelError(f"{label(node)}: X is missing")
    bounds = (("starts", -1), ("ends", np.iinfo(np.int64).min), ("axes", axis), ("steps", -1))
    constants = [new_initializer(graph, f"reverse.{key}", np.array([number], np.int64)) for key, number in bounds]
    return insert(node, "Slice", [value, *constants]).outputs[0]


def _one_direction(node: ir.Node, graph: ir.Graph, state: ir.Value, place: int) -> ir.Value:
    bounds = (("starts", place), ("ends", place + 1), ("axes", 0))
    constants = [new_initializer(graph, f"direction.{key}", np.array([number], np.int64)) for key, number in bounds]
    return insert(node, "Slice", [state, *constants]).outputs[0]
