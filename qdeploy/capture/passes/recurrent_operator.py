"""The ONNX operator RNN becomes ``qdeploy.float::RNN``."""

from __future__ import annotations

import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import FLOAT_DOMAIN, rnn_overload
from .access import attribute_float, attribute_strings, insert, is_zero, label, new_initializer
from .recurrent_form import check_form, constant_weights, give_results, one_direction

__all__ = ["convert_rnn_operators"]

_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "affine": "linear"}


def convert_rnn_operators(model: ir.Model) -> None:
    """Replaces every RNN operator by ``RNN`` of the float domain and layout operators around it.

    Requires: they read forwards (``split_directions``) and have no sequence_lens (``drop_full_lengths``).

    Ensures: no RNN operator is left; an initial state that is provably zero is absent.

    Raises:
        UnsupportedModelError: clip, weights that are not constant, or another activation than Relu, Tanh and
            Affine(1, 0).
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "RNN":
            _convert(node, model.graph)


def _convert(node: ir.Node, graph: ir.Graph) -> None:
    check_form(node)
    activation = _activation(node, label(node))
    input_weight, recurrent_weight, halves = constant_weights(node, 1)
    name = node.name or "rnn"
    values: list[ir.Value | None] = [
        node.inputs[0],
        new_initializer(graph, f"{name}.input_weight", input_weight),
        new_initializer(graph, f"{name}.recurrent_weight", recurrent_weight),
        new_initializer(graph, f"{name}.bias", halves[0] + halves[1]),
    ]
    initial = node.inputs[5] if len(node.inputs) > 5 else None
    has_h0 = not is_zero(initial)
    if has_h0:
        values.append(one_direction(node, graph, initial, name))
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
    give_results(node, graph, rnn.outputs, name)


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
