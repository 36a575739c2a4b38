"""Completes the nodes that torch wrote: names, overloads, no empty inputs, no zero initial states."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import (
    FLOAT_DOMAIN,
    RECURRENT,
    affine_overload,
    fast_overload,
    gru_overload,
    gru_reset_before_overload,
    hypercomplex_overload,
    ligru_overload,
    lstm_overload,
    rnn_overload,
)
from .access import constant, is_zero, label, new_initializer, only_consumer

__all__ = ["complete_float_nodes", "join_input_projections", "remove_zero_states"]


def complete_float_nodes(model: ir.Model) -> None:
    """Gives each float node its layer's name and its overload, and removes absent inputs.

    Ensures: a float node has no attribute ``layer`` and no empty input, and its overload is one of the functions'.
    """
    for node in list(model.graph):
        if node.domain != FLOAT_DOMAIN:
            continue
        layer = node.attributes.pop("layer", None)
        if layer is not None:
            node.name = layer.as_string()
        present = [value for value in node.inputs if value is not None]
        overload = ""
        if node.op_type == "Linear":
            overload = "bias" if len(present) == 3 else "no_bias"
        elif node.op_type == "HamiltonMatrix":
            overload = node.attributes["grouping"].as_string()
        elif node.op_type in ("ChannelAffine", "QuaternionAffine"):
            overload = affine_overload(node.attributes["trailing"].as_int())
        elif node.op_type == "HypercomplexMatrix":
            orders = (node.attributes[name].as_string() for name in ("grouping", "output_grouping"))
            overload = hypercomplex_overload(*orders)
        elif node.op_type == "RNN":
            activation = node.attributes["activation"].as_string()
            overload = rnn_overload(activation, has_h0=len(present) == (6 if activation == "modrelu" else 5))
        elif node.op_type == "GRU":
            overload = gru_overload(has_h0=len(present) == 6)
            # Not of W, which may be computed of quaternion components.
            recurrent_bias = constant(node.inputs[4])
            if recurrent_bias is not None:
                node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", recurrent_bias.shape[0])
        elif node.op_type == "GRUResetBefore":
            overload = gru_reset_before_overload(has_h0=len(present) == 5)
        elif node.op_type in ("FastRNN", "FastGRNN"):
            rank = node.attributes["rank"].as_string()
            gate = node.attributes["gate"].as_string() if node.op_type == "FastGRNN" else ""
            overload = fast_overload(
                node.attributes["activation"].as_string(),
                rank,
                gate=gate,
                has_h0=len(present) == (7 if rank == "low" else 6),
            )
        elif node.op_type == "LSTM":
            overload = lstm_overload(has_states=len(present) == 6)
        elif node.op_type == "LiGRU":
            overload = ligru_overload(node.attributes["candidate"].as_string(), has_h0=len(present) == 5)
        node.overload = overload
        if len(present) != len(node.inputs):
            node.resize_inputs(len(present))
            for index, value in enumerate(present):
                node.replace_input_with(index, value)


def remove_zero_states(model: ir.Model) -> None:
    """Removes initial states that are provably zero.

    Ensures: the initial state of a recurrent layer is absent or comes from an input of the graph.

    Raises:
        UnsupportedModelError: a constant initial state that is not zero.
    """
    for node in list(model.graph):
        if node.domain == FLOAT_DOMAIN and node.op_type == "LSTM":
            _remove_zero_states_of_lstm(node)
        if node.domain != FLOAT_DOMAIN or node.op_type not in RECURRENT or not node.overload.endswith("_h0"):
            continue
        state = node.inputs[-1]
        if is_zero(state):
            node.overload = node.overload.removesuffix("_h0")
            node.resize_inputs(len(node.inputs) - 1)
        elif state is not None and not _depends_on_input(state):
            raise UnsupportedModelError(
                f"{label(node)}: the initial state is a constant that is not zero, expected zeros or an input of the "
                "model; make it an argument of forward and feed the learned state"
            )


def _remove_zero_states_of_lstm(node: ir.Node) -> None:
    """Both states are zero, or both come from inputs of the graph."""
    states = node.inputs[4:]
    if not states:
        return
    if all(is_zero(state) for state in states):
        node.overload = lstm_overload(has_states=False)
        node.resize_inputs(4)
        return
    for state in states:
        if state is not None and not _depends_on_input(state):
            raise UnsupportedModelError(
                f"{label(node)}: one initial state is a constant, expected both to be zeros or both to be inputs of the "
                "model; make them arguments of forward and feed the learned or the zero state"
            )


def _depends_on_input(value: ir.Value) -> bool:
    """Whether the value itself (not its shape alone) comes from an input of the graph."""
    if value.is_graph_input():
        return True
    node = value.producer()
    if node is None:
        return False
    read = node.inputs[:1] if node.domain == "" and node.op_type in {"Expand", "Reshape"} else node.inputs
    return node.op_type not in {"Shape", "ConstantOfShape"} and any(
        one is not None and _depends_on_input(one) for one in read
    )


def join_input_projections(model: ir.Model) -> None:
    """``RNN(Linear(x, U, c), input_weight = 1, b)`` becomes ``RNN(x, U, b + c)``.

    Requires: Linear is made. Ensures: no RNN whose input weight is the identity and whose input is a Linear's alone.
    """
    for node in list(model.graph):
        if node.domain != FLOAT_DOMAIN or node.op_type != "RNN" or node.inputs[0] is None:
            continue
        weight = constant(node.inputs[1])
        linear = node.inputs[0].producer()
        if weight is None or linear is None or linear.domain != FLOAT_DOMAIN or linear.op_type != "Linear":
            continue
        is_identity = weight.shape[0] == weight.shape[1] and np.array_equal(weight, np.eye(weight.shape[0]))
        if not is_identity or only_consumer(node.inputs[0]) is not node or constant(linear.inputs[1]) is None:
            continue
        if len(linear.inputs) > 2:
            biases = constant(linear.inputs[2]), constant(node.inputs[3])
            if biases[0] is None or biases[1] is None:
                continue
            total = np.add(biases[0], biases[1], dtype=np.float32)
            node.replace_input_with(3, new_initializer(model.graph, f"{node.name}.bias", total))
        node.replace_input_with(1, linear.inputs[1])
        node.replace_input_with(0, linear.inputs[0])
        model.graph.remove(linear, safe=True)
