"""The ONNX operator LSTM becomes ``qdeploy.float::LSTM``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import FLOAT_DOMAIN, lstm_overload
from .access import (
    attribute_int,
    attribute_strings,
    constant,
    insert,
    is_zero,
    label,
    new_initializer,
    replace,
)

__all__ = ["convert_lstm_operators"]

_DEFAULT_ACTIVATIONS = ["sigmoid", "tanh", "tanh"]

_GATES = (0, 2, 3, 1)
"""Where the gates i, f, g, o stand in ONNX's order i, o, f, c."""


def convert_lstm_operators(model: ir.Model) -> None:
    """Replaces every LSTM operator by ``LSTM`` of the float domain and layout operators around it.

    Requires: they read forwards (``split_directions``).

    Ensures: no LSTM operator is left; gates are ordered i, f, g, o; initial states that are provably zero are absent.

    Raises:
        UnsupportedModelError: sequence_lens, clip, input_forget, peepholes, weights that
            are not constant, one initial state that is zero and one that is not, or other activations than Sigmoid, Tanh,
            Tanh.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "LSTM":
            _convert(node, model.graph)


def _convert(node: ir.Node, graph: ir.Graph) -> None:
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    _refuse(node, inputs)
    where, (x, w, r, b) = label(node), inputs[:4]
    input_weight, recurrent_weight = _weight(w, "W", where), _weight(r, "R", where)
    if x is None:
        raise UnsupportedModelError(f"{where}: X is missing")
    hidden = recurrent_weight.shape[-1]
    name = node.name or "lstm"
    batch_first = attribute_int(node, "layout", 0) == 1
    values: list[ir.Value | None] = [
        insert(node, "Transpose", [x], attributes={"perm": [1, 0, 2]}).outputs[0] if batch_first else x,
        new_initializer(graph, f"{name}.input_weight", _reordered(input_weight[0], hidden)),
        new_initializer(graph, f"{name}.recurrent_weight", _reordered(recurrent_weight[0], hidden)),
        new_initializer(graph, f"{name}.bias", _bias(b, hidden, where)),
    ]
    zero = [is_zero(state) for state in inputs[5:7]]
    if not all(zero):
        if any(zero):
            raise UnsupportedModelError(
                f"{where}: {'initial_h' if zero[0] else 'initial_c'} is zero and the other initial state is not, "
                "expected both or none; make both inputs of the model"
            )
        for state in inputs[5:7]:
            axes = new_initializer(graph, f"{name}.direction_axis", np.array([1 if batch_first else 0], np.int64))
            values.append(insert(node, "Squeeze", [state, axes]).outputs[0])
    lstm = insert(
        node,
        "LSTM",
        values,
        domain=FLOAT_DOMAIN,
        overload=lstm_overload(has_states=not all(zero)),
        name=name,
        outputs=3,
    )
    states, *last = lstm.outputs
    if batch_first:
        states = insert(node, "Transpose", [states], attributes={"perm": [1, 0, 2]}).outputs[0]
    # Y [T, directions, B, H], Y_h and Y_c [directions, B, H]; with layout 1, [B, T, directions, H] and [B, directions, H].
    axes_of = ((states, 2 if batch_first else 1), *((value, 1 if batch_first else 0) for value in last))
    for index, (value, axis) in enumerate(axes_of):
        if index < len(node.outputs) and node.outputs[index].name != "":
            axes = new_initializer(graph, f"{name}.direction_axis", np.array([axis], np.int64))
            replace(node.outputs[index], insert(node, "Unsqueeze", [value, axes]).outputs[0])
    graph.remove(node, safe=True)


def _refuse(node: ir.Node, inputs: list[ir.Value | None]) -> None:
    """Raises for what the float layer has no form for, by the name of the attribute or input."""
    where = label(node)
    if inputs[4] is not None:
        raise UnsupportedModelError(
            f"{where}: sequence_lens ({inputs[4].name}) is not supported; export without packed sequences and run "
            "sequences of equal length together"
        )
    if not is_zero(inputs[7]):
        raise UnsupportedModelError(f"{where}: peepholes (input P) are not supported; train the layer without them")
    if node.attributes.get("clip") is not None:
        raise UnsupportedModelError(f"{where}: clip is not supported; export the layer without it")
    if attribute_int(node, "input_forget", 0):
        raise UnsupportedModelError(
            f"{where}: input_forget=1 is not supported; export a layer with an input gate of its own"
        )
    names = [name.lower() for name in attribute_strings(node, "activations") or _DEFAULT_ACTIVATIONS]
    if names != _DEFAULT_ACTIVATIONS:
        raise UnsupportedModelError(f"{where}: activations {names} are not supported; expected Sigmoid, Tanh, Tanh")


def _weight(value: ir.Value | None, name: str, where: str) -> NDArray[Any]:
    array = constant(value)
    if array is None:
        raise UnsupportedModelError(f"{where}: {name} is computed by the graph, expected constant weights")
    return array


def _reordered(rows: NDArray[Any], hidden: int) -> NDArray[np.float32]:
    """Rows ``[4H, ...]`` in ONNX's order of gates, in ours."""
    gates = rows.astype(np.float32).reshape(4, hidden, *rows.shape[1:])
    ordered: NDArray[np.float32] = gates[list(_GATES)].reshape(rows.shape)
    return ordered


def _bias(value: ir.Value | None, hidden: int, where: str) -> NDArray[np.float32]:
    """The sum of the input's and the recurrence's bias."""
    if value is None:
        return np.zeros(4 * hidden, np.float32)
    array = constant(value)
    if array is None:
        raise UnsupportedModelError(f"{where}: B is computed by the graph, expected constant biases")
    halves = array.astype(np.float32).reshape(2, 4 * hidden)
    return _reordered(halves[0] + halves[1], hidden)
