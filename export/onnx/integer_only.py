"""The check behind the claim "integer-only": reads every node, body, subgraph and tensor of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx

from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops import DOMAIN, NOT_STRICT, OPERATORS, operator_name

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

_QLINEAR_CONV = "QLinearConv"
_SCALES = (1, 4, 6)
"""The one standard operator that a file with ``--conv-kernels qlinear`` has besides, and its inputs that are float."""


def check_integer_only(model: onnx.ModelProto, *, float_io: bool = False, qlinear: bool = False) -> None:
    """Refuses a model that computes with anything but integers.

    Requires: nothing.
    Ensures: no float tensor, attribute or type, no QuantizeLinear, DequantizeLinear or QLinear operator, in the graph,
    in functions, in subgraphs. With ``float_io``: one QuantizeLinear directly behind every float input and one
    DequantizeLinear directly before every float output of the top-level graph, and nothing else. With ``qlinear``, which
    is not integer-only: QLinearConv besides, and Casts of integers to the scales that it reads.

    Raises:
        UnsupportedModelError: naming the first offender.
    """
    border_nodes = _check_borders(model) if float_io else set()
    for value in [*model.graph.input, *model.graph.output]:
        if not float_io and value.type.tensor_type.elem_type in FLOAT_TYPES:
            _refuse(f"graph input or output {value.name} is a float tensor")
    _check_graph(model.graph, "graph", border_nodes, qlinear=qlinear)
    for function in model.functions:
        _check_nodes(function.node, f"body of {function.name}", set(), qlinear=qlinear)


def _check_graph(graph: onnx.GraphProto, where: str, border_nodes: set[str], *, qlinear: bool) -> None:
    float_borders = {name for node in graph.node if node.name in border_nodes for name in [*node.input, *node.output]}
    for tensor in graph.initializer:
        if tensor.data_type in FLOAT_TYPES and tensor.name not in float_borders:
            _refuse(f"{where}: initializer {tensor.name} is a float tensor")
    if graph.sparse_initializer:
        _refuse(f"{where}: sparse initializers are not read")
    for value in [*graph.value_info, *([*graph.input, *graph.output] if where != "graph" else [])]:
        if value.type.tensor_type.elem_type in FLOAT_TYPES and value.name not in float_borders:
            _refuse(f"{where}: tensor {value.name} is float")
    _check_nodes(graph.node, where, border_nodes, qlinear=qlinear)


def _check_nodes(nodes: Sequence[onnx.NodeProto], where: str, border_nodes: set[str], *, qlinear: bool) -> None:
    scales = _scales(nodes) if qlinear else set()
    for node in nodes:
        known = border_nodes
        if qlinear and _is_qlinear_conv(node):
            known = known | {node.name}
        _check_node(node, where, known, scales, qlinear=qlinear)


def _scales(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Tensors that nothing reads but QLinearConv nodes, as their scales."""
    as_scale: set[str] = set()
    otherwise: set[str] = set()
    for node in nodes:
        for place, name in enumerate(node.input):
            (as_scale if _is_qlinear_conv(node) and place in _SCALES else otherwise).add(name)
    return as_scale - otherwise


def _is_qlinear_conv(node: onnx.NodeProto) -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type == _QLINEAR_CONV


def _check_node(node: onnx.NodeProto, where: str, border_nodes: set[str], scales: set[str], *, qlinear: bool) -> None:
    place = f"{where}: node {node.name or node.output[0]} ({node.op_type})"
    if node.domain == DOMAIN:
        if operator_name(node.op_type) not in OPERATORS:
            _refuse(f"{place} is no operator of this version")
        if operator_name(node.op_type) in NOT_STRICT and not qlinear:
            _refuse(f"{place} requantizes in single precision")
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
            if attribute.i == onnx.TensorProto.FLOAT and node.output[0] in scales:
                continue
            _refuse(f"{place} casts to a float type")
        for graph in _graphs(attribute):
            _check_graph(graph, place, set(), qlinear=qlinear)


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
