"""The ONNX operator GRU becomes ``qdeploy.float::GRU`` or, with linear_before_reset = 0, ``GRUResetBefore``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import FLOAT_DOMAIN, gru_overload, gru_reset_before_overload
from .access import attribute_int, attribute_strings, constant, insert, is_zero, label, new_initializer, replace

__all__ = ["convert_gru_operators"]


def convert_gru_operators(model: ir.Model) -> None:
    """Replaces every GRU operator by a layer of the float domain and layout operators around it.

    Requires: they read forwards (``split_directions``).

    Ensures: no GRU operator is left; rows are those of r, z, n; an initial state that is provably zero is absent.

    Raises:
        UnsupportedModelError: sequence_lens, clip, weights that are not constant,
            or activations other than Sigmoid and Tanh.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "GRU":
            _convert(node, model.graph)


def _convert(node: ir.Node, graph: ir.Graph) -> None:
    where = label(node)
    x, w, r, b, lengths, initial = [*node.inputs, *[None] * (6 - len(node.inputs))][:6]
    _check(node, lengths, where)
    if x is None:
        raise UnsupportedModelError(f"{where}: X is missing")
    input_weight, recurrent_weight = (_known(value, name, where)[0] for value, name in ((w, "W"), (r, "R")))
    hidden = recurrent_weight.shape[1]
    halves = np.zeros((2, 3 * hidden), np.float32) if b is None else _known(b, "B", where).reshape(2, 3 * hidden)
    inputs, recurrent = _reset_first(halves[0]), _reset_first(halves[1])
    # Both biases act at one place, but for that of the candidate's recurrent product where the reset gate is behind it.
    behind = attribute_int(node, "linear_before_reset", 0) == 1
    gated = recurrent[2 * hidden :]
    bias = inputs + np.concatenate([recurrent[: 2 * hidden], np.zeros_like(gated) if behind else gated])
    name = node.name or "gru"
    batch_first = attribute_int(node, "layout", 0) == 1
    values: list[ir.Value | None] = [
        insert(node, "Transpose", [x], attributes={"perm": [1, 0, 2]}).outputs[0] if batch_first else x,
        new_initializer(graph, f"{name}.input_weight", _reset_first(input_weight)),
        new_initializer(graph, f"{name}.recurrent_weight", _reset_first(recurrent_weight)),
        new_initializer(graph, f"{name}.bias", bias),
        *([new_initializer(graph, f"{name}.recurrent_bias", gated)] if behind else []),
    ]
    has_h0 = not is_zero(initial)
    if has_h0:
        axes = new_initializer(graph, f"{name}.direction_axis", np.array([1 if batch_first else 0], np.int64))
        values.append(insert(node, "Squeeze", [initial, axes]).outputs[0])
    layer = insert(
        node,
        "GRU" if behind else "GRUResetBefore",
        values,
        domain=FLOAT_DOMAIN,
        overload=(gru_overload if behind else gru_reset_before_overload)(has_h0=has_h0),
        name=name,
        attributes={"hidden_size": hidden},
        outputs=2,
    )
    states, last = layer.outputs
    if batch_first:
        states = insert(node, "Transpose", [states], attributes={"perm": [1, 0, 2]}).outputs[0]
    # Y [T, directions, B, H] and Y_h [directions, B, H]; with layout 1, [B, T, directions, H] and [B, directions, H].
    for index, (value, axis) in enumerate(((states, 2 if batch_first else 1), (last, 1 if batch_first else 0))):
        if index < len(node.outputs) and node.outputs[index].name != "":
            axes = new_initializer(graph, f"{name}.direction_axis", np.array([axis], np.int64))
            replace(node.outputs[index], insert(node, "Unsqueeze", [value, axes]).outputs[0])
    graph.remove(node, safe=True)


def _check(node: ir.Node, lengths: ir.Value | None, where: str) -> None:
    """Refuses by name what the float layer does not have."""
    if lengths is not None:
        raise UnsupportedModelError(
            f"{where}: sequence_lens ({lengths.name}) is not supported; export without packed sequences and run "
            "sequences of equal length together"
        )
    if node.attributes.get("clip") is not None:
        raise UnsupportedModelError(f"{where}: clip is not supported; export the layer without it")
    activations = attribute_strings(node, "activations")
    if activations and [one.lower() for one in activations] != ["sigmoid", "tanh"]:
        raise UnsupportedModelError(f"{where}: activations {activations} are not supported; expected Sigmoid and Tanh")


def _known(value: ir.Value | None, name: str, where: str) -> NDArray[Any]:
    array = constant(value)
    if array is None:
        found = "missing" if value is None else "computed by the graph"
        raise UnsupportedModelError(f"{where}: {name} is {found}, expected constants")
    return array.astype(np.float32)


def _reset_first(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of z, r, h as rows of r, z, h."""
    update, reset, candidate = np.split(rows, 3)
    ordered: NDArray[np.float32] = np.concatenate([reset, update, candidate])
    return ordered
