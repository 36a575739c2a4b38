"""The ONNX operator LSTM becomes ``qdeploy.float::LSTM``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import FLOAT_DOMAIN, lstm_overload
from .access import insert, is_zero, label, new_initializer
from .recurrent_form import check_activations, check_form, constant_weights, give_results, one_direction

__all__ = ["convert_lstm_operators"]

_GATES = (0, 2, 3, 1)
"""Where the gates i, f, g, o stand in ONNX's order i, o, f, c."""


def convert_lstm_operators(model: ir.Model) -> None:
    """Replaces every LSTM operator by ``LSTM`` of the float domain and layout operators around it.

    Requires: they read forwards (``split_directions``) and have no sequence_lens (``drop_full_lengths``).

    Ensures: no LSTM operator is left; gates are ordered i, f, g, o; initial states that are provably zero are absent.

    Raises:
        UnsupportedModelError: clip, input_forget, peepholes, weights that are not constant, one initial state that is
            zero and one that is not, or other activations than Sigmoid, Tanh, Tanh.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "LSTM":
            _convert(node, model.graph)


def _convert(node: ir.Node, graph: ir.Graph) -> None:
    check_form(node)
    check_activations(node, ["Sigmoid", "Tanh", "Tanh"])
    input_weight, recurrent_weight, halves = constant_weights(node, 4)
    hidden = recurrent_weight.shape[1]
    name = node.name or "lstm"
    values: list[ir.Value | None] = [
        node.inputs[0],
        new_initializer(graph, f"{name}.input_weight", _reordered(input_weight, hidden)),
        new_initializer(graph, f"{name}.recurrent_weight", _reordered(recurrent_weight, hidden)),
        new_initializer(graph, f"{name}.bias", _reordered(halves[0] + halves[1], hidden)),
    ]
    states = [*node.inputs, None, None][5:7] if len(node.inputs) > 5 else [None, None]
    zero = [is_zero(state) for state in states]
    if not all(zero):
        if any(zero):
            raise UnsupportedModelError(
                f"{label(node)}: {'initial_h' if zero[0] else 'initial_c'} is zero and the other initial state is not, "
                "expected both or none; make both inputs of the model"
            )
        values += [one_direction(node, graph, state, name) for state in states]
    lstm = insert(
        node,
        "LSTM",
        values,
        domain=FLOAT_DOMAIN,
        overload=lstm_overload(has_states=not all(zero)),
        name=name,
        outputs=3,
    )
    give_results(node, graph, lstm.outputs, name)


def _reordered(rows: NDArray[Any], hidden: int) -> NDArray[np.float32]:
    """Rows ``[4H, ...]`` in ONNX's order of gates, in ours."""
    gates = rows.astype(np.float32).reshape(4, hidden, *rows.shape[1:])
    ordered: NDArray[np.float32] = gates[list(_GATES)].reshape(rows.shape)
    return ordered
