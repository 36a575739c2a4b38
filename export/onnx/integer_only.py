"""The check behind the claim "integer-only": reads every node, body, subgraph and tensor of a model."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops import DOMAIN, OPERATORS, operator_name

FLOAT_TYPES = frozenset(
    value
    for name, value in onnx.TensorProto.DataType.items()
    if "FLOAT" in name or "COMPLEX" in name or name in ("DOUBLE", "STRING")
)

# fmt: off
INTEGER_OPERATORS = frozenset({
    "Abs", "Add", "BitShift", "BitwiseAnd", "BitwiseXor", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape",
    "ConvInteger", "CumSum", "Div", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "MatMul",
    "MatMulInteger", "Max", "MaxPool", "Mod", "Mul", "Neg", "Pad", "Range", "ReduceMax", "ReduceProd", "ReduceSum",
    "Relu", "Reshape", "Scan", "ScatterElements", "Shape", "Sign", "Slice", "Split", "Squeeze", "Sub", "Transpose",
    "Unsqueeze",
})
# fmt: on
"""Standard operators whose results are integers when their inputs are."""

BORDERS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def check_integer_only(model: onnx.ModelProto, *, float_io: bool = False) -> None:
    """Refuses a model that computes with anything but integers.

    Requires: nothing.
    Ensures: no float tensor, attribute or type, no QuantizeLinear, DequantizeLinear or QLinear operator, in the graph,
    in functions, in subgraphs. With ``float_io``: one QuantizeLinear directly behind every float input and one
    DequantizeLinear directly before every float output of the top-level graph, and nothing else.

    Raises:
        UnsupportedModelError: naming the first offender.
    """
    border_nodes = _check_borders(model) if float_io else set()
    for value in [*model.graph.input, *model.graph.output]:
        if not float_io and value.type.tensor_type.elem_type in FLOAT_TYPES:
            _refuse(f"graph input or output {value.name} is a float tensor")
    _check_graph(model.graph, "graph", border_nodes)
    for function in model.functions:
        where = f"body of {function.name}"
        for node in function.node:
            _check_node(node, where, set())


def _check_graph(graph: onnx.GraphProto, where: str, border_nodes: set[str]) -> None:
    float_borders = {name for node in graph.node if node.name in border_nodes for name in [*node.input, *node.output]}
    for tensor in graph.initializer:
        if tensor.data_type in FLOAT_TYPES and tensor.name not in float_borders:
            _refuse(f"{where}: initializer {tensor.name} is a float tensor")
    if graph.sparse_initializer:
        _refuse(f"{where}: sparse initializers are not read")
    for value in [*graph.value_info, *([*graph.input, *graph.output] if where != "graph" else [])]:
        if value.type.tensor_type.elem_type in FLOAT_TYPES and value.name not in float_borders:
            _refuse(f"{where}: tensor {value.name} is float")
    for node in graph.node:
        _check_node(node, where, border_nodes)


def _check_node(node: onnx.NodeProto, where: str, border_nodes: set[str]) -> None:
    place = f"{where}: node {node.name or node.output[0]} ({node.op_type})"
    if node.domain == DOMAIN:
        if operator_name(node.op_type) not in OPERATORS:
            _refuse(f"{place} is no operator of this version")
    elif (
        node.domain not in ("", "ai.onnx") or node.op_type not in INTEGER_OPERATORS
    ) and node.name not in border_nodes:
        _refuse(f"{place} is not an integer operator")
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS):
            _refuse(f"{place}: attribute {attribute.name} is float")
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in FLOAT_TYPES:
            _refuse(f"{place}: attribute {attribute.name} is a float tensor")
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i in FLOAT_TYPES:
            _refuse(f"{place} casts to a float type")
        for graph in _graphs(attribute):
            _check_graph(graph, place, set())


def _graphs(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    if attribute.type == onnx.AttributeProto.GRAPH:
        yield attribute.g
    yield from attribute.graphs


def _check_borders(model: onnx.ModelProto) -> set[str]:
    """The names of the border nodes, each where it may stand."""
    inputs, outputs = {v.name for v in model.graph.input}, {v.name for v in model.graph.output}
    allowed = set()
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in inputs:
            _refuse(f"node {node.name} (QuantizeLinear) does not stand at an input of the graph")
        if node.op_type == "DequantizeLinear" and node.output[0] not in outputs:
            _refuse(f"node {node.name} (DequantizeLinear) does not stand at an output of the graph")
        if node.op_type in BORDERS:
            allowed.add(node.name)
    return allowed


def _refuse(what: str) -> None:
    raise UnsupportedModelError(
        f"the model is not integer-only: {what}. Expected integers everywhere; export it again."
    )
