"""The ONNX operator GRU becomes ``qdeploy.float::GRU`` or, with linear_before_reset = 0, ``GRUResetBefore``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN, gru_overload, gru_reset_before_overload
from .access import attribute_int, insert, is_zero, new_initializer
from .recurrent_form import check_activations, check_form, constant_weights, give_results, one_direction

__all__ = ["convert_gru_operators"]


def convert_gru_operators(model: ir.Model) -> None:
    """Replaces every GRU operator by a layer of the float domain and layout operators around it.

    Requires: they read forwards (``split_directions``) and have no sequence_lens (``drop_full_lengths``).

    Ensures: no GRU operator is left; rows are those of r, z, n; an initial state that is provably zero is absent.

    Raises:
        UnsupportedModelError: clip, weights that are not constant, or activations other than Sigmoid and Tanh.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "GRU":
            _convert(node, model.graph)


def _convert(node: ir.Node, graph: ir.Graph) -> None:
    check_form(node)
    check_activations(node, ["Sigmoid", "Tanh"])
    input_weight, recurrent_weight, halves = constant_weights(node, 3)
    hidden = recurrent_weight.shape[1]
    inputs, recurrent = _reset_first(halves[0]), _reset_first(halves[1])
    # Both biases act at one place, but for that of the candidate's recurrent product where the reset gate is behind it.
    behind = attribute_int(node, "linear_before_reset", 0) == 1
    gated = recurrent[2 * hidden :]
    bias = inputs + np.concatenate([recurrent[: 2 * hidden], np.zeros_like(gated) if behind else gated])
    name = node.name or "gru"
    values: list[ir.Value | None] = [
        node.inputs[0],
        new_initializer(graph, f"{name}.input_weight", _reset_first(input_weight)),
        new_initializer(graph, f"{name}.recurrent_weight", _reset_first(recurrent_weight)),
        new_initializer(graph, f"{name}.bias", bias),
        *([new_initializer(graph, f"{name}.recurrent_bias", gated)] if behind else []),
    ]
    initial = node.inputs[5] if len(node.inputs) > 5 else None
    has_h0 = not is_zero(initial)
    if has_h0:
        values.append(one_direction(node, graph, initial, name))
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
    give_results(node, graph, layer.outputs, name)


def _reset_first(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of z, r, h as rows of r, z, h."""
    update, reset, candidate = np.split(rows, 3)
    ordered: NDArray[np.float32] = np.concatenate([reset, update, candidate])
    return ordered
