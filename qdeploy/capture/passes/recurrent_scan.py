"""A Scan whose step is ``act(W h + U x + b)`` becomes ``qdeploy.float::RNN``."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN, rnn_overload
from .access import attribute_float, attribute_int, attribute_ints, constant, insert, is_zero, new_initializer, replace
from .modrelu import match_modrelu

__all__ = ["convert_scans"]


@dataclass
class _Terms:
    """The summands of a pre-activation; matrices are [in, out]."""

    of_state: list[NDArray[np.float32]] = field(default_factory=list)
    of_input: list[NDArray[np.float32]] = field(default_factory=list)
    bias: list[NDArray[np.float32]] = field(default_factory=list)
    # The scan input is added as it is: the product with U stands outside the loop.
    direct_input: bool = False


def convert_scans(model: ir.Model) -> None:
    """Replaces every Scan that is a simple recurrent layer; others stay, and the list of allowed operators names them.

    Recognised: one state [B, H], one scan input [T, B, I] read forwards along axis 0, a body that is a sum of MatMul,
    Gemm and constants under Relu, Tanh, modReLU or nothing, every scan output being the new state. Requires: weights
    are constants, inside the body or outside.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Scan":
            _convert(node, model.graph)


def _convert(node: ir.Node, graph: ir.Graph) -> None:
    body = node.attributes["body"].as_graph()
    if attribute_int(node, "num_scan_inputs", 1) != 1 or len(node.inputs) != 2 or len(body.inputs) != 2:
        return
    for name in ("scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions"):
        if any(attribute_ints(node, name) or []):
            return
    state, x = body.inputs
    following = _through_identity(body.outputs[0])
    if any(_through_identity(output) is not following for output in body.outputs):
        return
    activation, sum_, modrelu_bias = _split_activation(following)
    terms = _Terms()
    if not _collect(sum_, state, x, terms) or not terms.of_state:
        return
    recurrent_weight = _sum(terms.of_state).T
    hidden = recurrent_weight.shape[0]
    if terms.direct_input:
        terms.of_input.append(np.eye(hidden, dtype=np.float32))
    if not terms.of_input or any(matrix.shape != terms.of_input[0].shape for matrix in terms.of_input):
        return
    input_weight = _sum(terms.of_input).T
    bias = _sum([np.zeros(hidden, np.float32), *(summand.reshape(-1) for summand in terms.bias)])
    name = node.name or "rnn"
    values: list[ir.Value | None] = [
        node.inputs[1],
        new_initializer(graph, f"{name}.input_weight", input_weight),
        new_initializer(graph, f"{name}.recurrent_weight", recurrent_weight),
        new_initializer(graph, f"{name}.bias", bias),
    ]
    if modrelu_bias is not None:
        values.append(new_initializer(graph, f"{name}.modrelu_bias", np.broadcast_to(modrelu_bias, (hidden,))))
    has_h0 = not is_zero(node.inputs[0])
    if has_h0:
        values.append(node.inputs[0])
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
    replace(node.outputs[0], rnn.outputs[1])
    for output in node.outputs[1:]:
        replace(output, rnn.outputs[0])
    graph.remove(node, safe=True)


def _sum(arrays: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def _through_identity(value: ir.Value) -> ir.Value:
    producer = value.producer()
    while producer is not None and producer.domain == "" and producer.op_type == "Identity":
        source = producer.inputs[0]
        if source is None:
            break
        value, producer = source, source.producer()
    return value


def _split_activation(value: ir.Value) -> tuple[str, ir.Value, NDArray[np.float32] | None]:
    """The activation, its argument, and modReLU's bias."""
    producer = value.producer()
    if producer is not None and producer.domain == "" and producer.inputs and producer.inputs[0] is not None:
        if producer.op_type == "Relu":
            return "relu", _through_identity(producer.inputs[0]), None
        if producer.op_type == "Tanh":
            return "tanh", _through_identity(producer.inputs[0]), None
        match = match_modrelu(value)
        if match is not None:
            return "modrelu", _through_identity(match[0]), match[1]
    return "linear", value, None


def _collect(value: ir.Value, state: ir.Value, x: ir.Value, terms: _Terms) -> bool:
    """Adds the summands of ``value`` to ``terms``; false where one is of another kind."""
    value = _through_identity(value)
    if value is x:
        if terms.direct_input:
            return False
        terms.direct_input = True
        return True
    array = constant(value)
    if array is not None:
        if array.size != array.shape[-1] if array.ndim else True:
            return False
        terms.bias.append(array.astype(np.float32))
        return True
    producer = value.producer()
    if producer is None or producer.domain != "":
        return False
    if producer.op_type == "Add":
        return all(one is not None and _collect(one, state, x, terms) for one in producer.inputs)
    if producer.op_type not in {"MatMul", "Gemm"} or producer.inputs[0] is None:
        return False
    left, matrix = _through_identity(producer.inputs[0]), constant(producer.inputs[1])
    if matrix is None or matrix.ndim != 2 or matrix.dtype != np.float32 or (left is not state and left is not x):
        return False
    weight = matrix.astype(np.float32)
    if producer.op_type == "Gemm":
        if attribute_int(producer, "transA", 0) or attribute_float(producer, "beta", 1.0) != 1.0:
            return False
        if attribute_int(producer, "transB", 0):
            weight = weight.T
        weight = weight * np.float32(attribute_float(producer, "alpha", 1.0))
        added = producer.inputs[2] if len(producer.inputs) > 2 else None
        if added is not None and not _collect(added, state, x, terms):
            return False
    (terms.of_state if left is state else terms.of_input).append(weight)
    return True
