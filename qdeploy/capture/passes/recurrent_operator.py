"""The ONNX operator RNN becomes ``qdeploy.float::RNN``."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import FLOAT_DOMAIN, rnn_overload
from .access import (
    attribute_float,
    attribute_int,
    attribute_strings,
    constant,
    insert,
    is_zero,
    label,
    new_initializer,
    replace,
)

__all__ = ["convert_rnn_operators"]

_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "affine": "linear"}


def convert_rnn_operators(model: ir.Model) -> None:
    """Replaces every RNN operator by ``RNN`` of the float domain and layout operators around it.

    Requires: they read forwards (``split_directions``).

    Ensures: no RNN operator is left; an initial state that is provably zero is absent.

    Raises:
        UnsupportedModelError: sequence_lens, clip, weights that are not constant, or
            another activation than Relu, Tanh and Affine(1, 0).
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "RNN":
            _convert(node, model.graph)


def _convert(node: ir.Node, graph: ir.Graph) -> None:
    where = label(node)
    inputs = [*node.inputs, *[None] * (6 - len(node.inputs))]
    x, w, r, b, lengths, initial = inputs[:6]
    if lengths is not None:
        raise UnsupportedModelError(
            f"{where}: sequence_lens ({lengths.name}) is not supported; export without packed sequences and run "
            "sequences "
            "of equal length together"
        )
    if node.attributes.get("clip") is not None:
        raise UnsupportedModelError(f"{where}: clip is not supported; export the layer without it")
    activation = _activation(node, where)
    weights = {"W": constant(w), "R": constant(r)}
    for name, array in weights.items():
        if array is None:
            raise UnsupportedModelError(f"{where}: {name} is computed by the graph, expected constant weights")
    input_weight, recurrent_weight = weights["W"], weights["R"]
    if x is None or input_weight is None or recurrent_weight is None:
        raise UnsupportedModelError(f"{where}: X, W or R is missing")
    bias = _bias(b, recurrent_weight.shape[1], where)
    name = node.name or "rnn"
    values: list[ir.Value | None] = [
        _time_major(node, x),
        new_initializer(graph, f"{name}.input_weight", input_weight[0]),
        new_initializer(graph, f"{name}.recurrent_weight", recurrent_weight[0]),
        new_initializer(graph, f"{name}.bias", bias),
    ]
    batch_first = attribute_int(node, "layout", 0) == 1
    has_h0 = not is_zero(initial)
    if has_h0:
        axes = new_initializer(graph, f"{name}.direction_axis", np.array([1 if batch_first else 0], np.int64))
        values.append(insert(node, "Squeeze", [initial, axes]).outputs[0])
    rnn = insert(
        node,
        "RNN",
        values,
        domain=FLOAT_DOMAIN,
        overload=rnn_overload(activation, has_h0=has_h0),
        name=name,
        attributes={"activation": activation},
        outputs=2,
    )
    states, last = rnn.outputs
    if batch_first:
        states = insert(node, "Transpose", [states], attributes={"perm": [1, 0, 2]}).outputs[0]
    # Y [T, directions, B, H] and Y_h [directions, B, H]; with layout 1, [B, T, directions, H] and [B, directions, H].
    for index, (value, axis) in enumerate(((states, 2 if batch_first else 1), (last, 1 if batch_first else 0))):
        if index < len(node.outputs) and node.outputs[index].name != "":
            axes = new_initializer(graph, f"{name}.direction_axis", np.array([axis], np.int64))
            replace(node.outputs[index], insert(node, "Unsqueeze", [value, axes]).outputs[0])
    graph.remove(node, safe=True)


def _time_major(node: ir.Node, x: ir.Value) -> ir.Value:
    if attribute_int(node, "layout", 0) == 0:
        return x
    return insert(node, "Transpose", [x], attributes={"perm": [1, 0, 2]}).outputs[0]


def _activation(node: ir.Node, where: str) -> str:
    names = attribute_strings(node, "activations") or ["Tanh"]
    found = _ACTIVATIONS.get(names[0].lower())
    if found == "linear":
        alphas, betas = node.attributes.get("activation_alpha"), node.attributes.get("activation_beta")
        alpha = alphas.as_floats()[0] if alphas is not None else attribute_float(node, "alpha", 1.0)
        beta = betas.as_floats()[0] if betas is not None else 0.0
        found = found if (alpha, beta) == (1.0, 0.0) else None
    if found is None or len(names) != 1:
        raise UnsupportedModelError(
            f"{where}: activations {names} are not supported; expected one of Relu, Tanh, or Affine with alpha 1 and "
            "beta 0"
        )
    return found


def _bias(value: ir.Value | None, hidden: int, where: str) -> NDArray[np.float32]:
    """The sum of the input's and the recurrence's bias."""
    if value is None:
        return np.zeros(hidden, np.float32)
    array = constant(value)
    if array is None:
        raise UnsupportedModelError(f"{where}: B is computed by the graph, expected constant biases")
    halves = array.astype(np.float32).reshape(2, hidden)
    total: NDArray[np.float32] = halves[0] + halves[1]
    return total
