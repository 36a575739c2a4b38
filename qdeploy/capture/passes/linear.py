"""Gemm, MatMul and the Add of a bias become ``qdeploy.float::Linear``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..functions import FLOAT_DOMAIN
from .access import (
    attribute_float,
    attribute_int,
    constant,
    insert,
    new_initializer,
    only_consumer,
    replace,
)

__all__ = ["make_linear"]


def make_linear(model: ir.Model) -> None:
    """Replaces products with a constant matrix by ``Linear``, and joins constants that are added to its result.

    Requires: the weights are constants or a ``HamiltonMatrix``. Ensures: no Gemm or MatMul whose right operand is such
    a weight (transA = 0), no Add of a vector of constants to a ``Linear`` that nothing else reads.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type in {"Gemm", "MatMul"}:
            _product(node)
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Add" and node.graph is not None:
            _bias(node)


def _product(node: ir.Node) -> None:
    graph, x, matrix = node.graph, node.inputs[0], node.inputs[1]
    if not isinstance(graph, ir.Graph) or x is None or matrix is None or constant(x) is not None:
        return
    gemm = node.op_type == "Gemm"
    if gemm and attribute_int(node, "transA", 0):
        return
    name = node.name or node.op_type.lower()
    transposed = not (gemm and attribute_int(node, "transB", 0))
    alpha = attribute_float(node, "alpha", 1.0) if gemm else 1.0
    weight = _weight(node, graph, matrix, transposed=transposed, alpha=alpha, name=name)
    if weight is None:
        return
    inputs = [x, weight]
    if gemm and len(node.inputs) > 2 and node.inputs[2] is not None:
        beta = attribute_float(node, "beta", 1.0)
        bias = constant(node.inputs[2])
        units = weight.shape[0] if weight.shape is not None else None
        if bias is None or not isinstance(units, int):
            return
        vector = _vector(bias, units)
        if vector is None:
            return
        if beta == 1.0 and node.inputs[2].is_initializer() and bias.shape == (units,):
            inputs.append(node.inputs[2])
        else:
            inputs.append(new_initializer(graph, f"{name}.bias", vector * np.float32(beta)))
    linear = insert(
        node, "Linear", inputs, domain=FLOAT_DOMAIN, overload="bias" if len(inputs) == 3 else "no_bias", name=name
    )
    replace(node.outputs[0], linear.outputs[0])
    graph.remove(node, safe=True)


def _weight(
    node: ir.Node, graph: ir.Graph, matrix: ir.Value, *, transposed: bool, alpha: float, name: str
) -> ir.Value | None:
    """The weight [N, K] as a value of the graph; ``transposed`` says that ``matrix`` is [K, N]."""
    producer = matrix.producer()
    while producer is not None and producer.domain == "" and producer.op_type == "Transpose":
        source = producer.inputs[0]
        if source is None:
            return None
        matrix, producer, transposed = source, source.producer(), not transposed
    if producer is not None and producer.domain == FLOAT_DOMAIN and producer.op_type == "HamiltonMatrix":
        return _hamilton_weight(node, graph, producer, transposed=transposed, alpha=alpha)
    array = constant(matrix)
    if array is None or array.ndim != 2 or array.dtype != np.float32:
        return None
    if not transposed and alpha == 1.0 and matrix.is_initializer():
        return matrix
    weight = (array.T if transposed else array) * np.float32(alpha)
    source_name = matrix.name or ""
    taken = source_name if source_name.endswith("weight") and len(list(matrix.uses())) == 1 else f"{name}.weight"
    return new_initializer(graph, taken, weight)


def _hamilton_weight(
    node: ir.Node, graph: ir.Graph, producer: ir.Node, *, transposed: bool, alpha: float
) -> ir.Value | None:
    """L(w)ᵀ = L(conj w) of transposed components."""
    components = [constant(value) for value in producer.inputs]
    rows = components[0].shape[0] if components[0] is not None else 0
    columns = components[0].shape[1] if components[0] is not None else 0
    if not transposed and alpha == 1.0:
        value = producer.outputs[0]
        value.shape, value.type = ir.Shape((4 * rows, 4 * columns)), ir.TensorType(ir.DataType.FLOAT)
        return value
    values = []
    for index, (component, array) in enumerate(zip(producer.inputs, components, strict=True)):
        if component is None or array is None:
            return None
        factor = np.float32(-alpha if transposed and index else alpha)
        oriented = array.T if transposed else array
        values.append(new_initializer(graph, f"{component.name}.transposed", oriented.astype(np.float32) * factor))
    matrix = insert(
        node,
        "HamiltonMatrix",
        values,
        domain=FLOAT_DOMAIN,
        overload="blocked",
        name=producer.name,
        attributes={"grouping": "blocked"},
    )
    result = matrix.outputs[0]
    result.type = ir.TensorType(ir.DataType.FLOAT)
    result.shape = ir.Shape((4 * columns, 4 * rows) if transposed else (4 * rows, 4 * columns))
    return result


def _vector(array: NDArray[Any], units: int) -> NDArray[np.float32] | None:
    """``array`` as a vector [units] where it broadcasts over all but the last axis."""
    if array.dtype != np.float32 or array.size not in {1, units} or (array.ndim and array.shape[-1] not in {1, units}):
        return None
    return np.broadcast_to(array.reshape(-1), (units,)).astype(np.float32)


def _bias(node: ir.Node) -> None:
    """Joins ``Linear + constant``."""
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        return
    for product, added in (node.inputs, tuple(reversed(node.inputs))):
        if product is None or added is None:
            continue
        linear, array = product.producer(), constant(added)
        if linear is None or array is None or linear.domain != FLOAT_DOMAIN or linear.op_type != "Linear":
            continue
        weight = linear.inputs[1]
        units = weight.shape[0] if weight is not None and weight.shape is not None else None
        vector = _vector(array, units) if isinstance(units, int) else None
        if vector is None or only_consumer(product) is not node:
            return
        own = constant(linear.inputs[2]) if len(linear.inputs) > 2 else None
        if own is None and added.is_initializer() and array.shape == vector.shape:
            bias = added
        else:
            summed = vector if own is None else vector + own.astype(np.float32)
            bias = new_initializer(graph, f"{linear.name}.bias", summed)
        joined = insert(
            node, "Linear", [*linear.inputs[:2], bias], domain=FLOAT_DOMAIN, overload="bias", name=linear.name
        )
        replace(node.outputs[0], joined.outputs[0])
        graph.remove(node, safe=True)
        graph.remove(linear, safe=True)
        return
