"""Nodes that make much of little: their constant parameters say how much, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.model_structure import graphs_in

__all__ = ["LARGEST_RESULT", "check_sizes"]

LARGEST_RESULT = 1 << 26
"""Elements; a file of a few bytes can ask for more than any memory holds."""

_MOST_REPEATS = 1 << 20
"""Of a Tile, whose input is repeated whole."""

#: Operator to the places of the inputs that say how large its result is.
_MAKERS = {"ConstantOfShape": (0,), "Expand": (1,), "Tile": (1,), "Range": (0, 1, 2)}


def check_sizes(model: onnx.ModelProto, where: str) -> None:
    """No ConstantOfShape, Expand or Range of constant parameters makes more than LARGEST_RESULT elements, no Tile 2^20 repeats.

    Nor does a node whose attribute ``shape`` says how large its result is, as those do that expand weights.

    Requires: ``check_structure`` and ``check_tensors`` passed. Parameters that the graph computes from its inputs are a
    matter of these inputs.

    Raises:
        UnsupportedModelError: with the node's name.
    """
    _check_scope([model.graph.node], [model.graph], where)
    for function in model.functions:
        _check_scope([function.node], [], where)


def _check_scope(pending: list[Iterable[onnx.NodeProto]], graphs: list[onnx.GraphProto], where: str) -> None:
    """The nodes of one graph or function and of the graphs in it, which see each other's names."""
    nodes: list[onnx.NodeProto] = []
    while pending:
        for node in pending.pop():
            nodes.append(node)
            inner = [graph for attribute in node.attribute for graph in graphs_in(attribute)]
            graphs += inner
            pending += [graph.node for graph in inner]
    constants = _constants(nodes, graphs)
    for node in nodes:
        places = _MAKERS.get(node.op_type)
        size = _named_size(node)
        if places is not None and len(node.input) > max(places):
            parameters = [constants[node.input[place]] for place in places if node.input[place] in constants]
            size = _size(parameters) if len(parameters) == len(places) else 0
        what, most = ("repeats", _MOST_REPEATS) if node.op_type == "Tile" else ("elements", LARGEST_RESULT)
        if size > most:
            raise UnsupportedModelError(
                f"{where}: node {node.name or node.output[0]} ({node.op_type}) makes {size} {what}, expected at most "
                f"{most}; networks for small machines make none of that size"
            )


def _named_size(node: onnx.NodeProto) -> int:
    """Elements of the attribute ``shape``, 0 where there is none."""
    shapes = [list(attribute.ints) for attribute in node.attribute if attribute.name == "shape" and attribute.ints]
    return max((math.prod(max(1, abs(length)) for length in shape) for shape in shapes), default=0)


def _constants(nodes: Iterable[onnx.NodeProto], graphs: Iterable[onnx.GraphProto]) -> dict[str, npt.NDArray[Any]]:
    """Small constants that stand in the file, by name."""
    constants: dict[str, npt.NDArray[Any]] = {}
    for graph in graphs:
        for tensor in graph.initializer:
            _remember(constants, tensor.name, tensor)
    for node in nodes:
        if node.op_type == "ReduceProd" and node.output and node.input and node.input[0] in constants:
            # Of a shape, the number of elements, in Python's integers: int64 would wrap.
            size = math.prod(abs(int(length)) for length in constants[node.input[0]])
            constants[node.output[0]] = np.array([min(size, LARGEST_RESULT + 1)], np.int64)
        if node.op_type != "Constant" or not node.output or not node.attribute:
            continue
        attribute = node.attribute[0]
        if attribute.HasField("t"):
            _remember(constants, node.output[0], attribute.t)
        elif attribute.name in {"value_ints", "value_int"}:
            numbers = attribute.ints if attribute.name == "value_ints" else [attribute.i]
            constants[node.output[0]] = np.array(numbers, np.int64)
    return constants


def _remember(constants: dict[str, npt.NDArray[Any]], name: str, tensor: onnx.TensorProto) -> None:
    """Keeps shapes and the like: a few numbers."""
    kinds = {onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
    if tensor.data_type in kinds and math.prod(tensor.dims) <= 64:
        constants[name] = onnx.numpy_helper.to_array(tensor).reshape(-1)


def _size(parameters: list[npt.NDArray[Any]]) -> int:
    """Elements of a shape or of repeats; of a Range its numbers."""
    if len(parameters) == 1:
        # A length of 0 takes the size of its input (Expand), or leaves nothing.
        lengths: list[int] = parameters[0].tolist() if parameters[0].dtype.kind == "i" else []
        return math.prod(max(1, abs(length)) for length in lengths)
    start, limit, delta = (float(array[0]) if array.size else 0.0 for array in parameters)
    count = abs((limit - start) / delta) if delta else 0.0
    # No number, or infinitely many: onnxruntime refuses both.
    return int(count) if math.isfinite(count) else 0
