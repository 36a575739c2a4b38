"""The structure of a model that came from elsewhere: bounded, acyclic, with tensors as large as they say.

Checked before any library works on the model: a checker, a converter or a runtime follows functions and graphs wherever
they lead, and allocates what a shape promises.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from qdeploy.runtime.errors import InvalidFileError

__all__ = ["check_structure", "check_tensors", "graphs_in", "tensors_of"]

#: Graphs within graphs; a loop in a branch of a function has three.
DEEPEST_GRAPH = 16
#: Nodes once every call of a function stands for the function's own nodes.
MOST_NODES = 100_000
#: Axes of a tensor; NumPy's own bound is 64, and 32 before version 2.
MOST_AXES = 16

#: Elements of an input, an output or an intermediate value, free dimensions counted as one.
MOST_ELEMENTS = 1 << 31

_ELEMENT_TYPES = frozenset(onnx.TensorProto.DataType.values())
_FunctionKey: TypeAlias = tuple[str, str, str]


def check_structure(model: onnx.ModelProto, where: str) -> None:
    """Graphs nest a bounded number of times, functions never call themselves and stand for a bounded number of nodes.

    Raises:
        InvalidFileError: with the function or the value that is at fault.
    """
    _check_texts(model, where)
    functions: dict[_FunctionKey, onnx.FunctionProto] = {}
    for function in model.functions:
        key = (_domain(function.domain), function.name, function.overload)
        if key in functions:
            raise InvalidFileError(
                f"{where}: found two functions {_text(key)}, expected one of a name; export it again"
            )
        functions[key] = function
    _check_size(model, functions, where)
    for graph in _graphs(model, where):
        for value in (*graph.input, *graph.output, *graph.value_info):
            element_type = value.type.tensor_type.elem_type
            if element_type not in _ELEMENT_TYPES:
                raise InvalidFileError(
                    f"{where}: value {value.name!r} has the element type {element_type}, expected one of ONNX; "
                    "export it again"
                )
            sizes = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
            if min(sizes, default=0) < 0 or math.prod(size or 1 for size in sizes) > MOST_ELEMENTS:
                raise InvalidFileError(
                    f"{where}: value {value.name!r} has the shape {sizes[:MOST_AXES]}, expected positive sizes of at most "
                    f"{MOST_ELEMENTS} elements; export it again"
                )


def _check_texts(model: onnx.ModelProto, where: str) -> None:
    """Every name is a text: protobuf hands over bytes where a field is not UTF-8."""
    pending: list[Message] = [model]
    while pending:
        message = pending.pop()
        for field, value in message.ListFields():
            repeated = not isinstance(value, Message | str | bytes | int | float)
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                pending += value if repeated else [value]
            elif field.type == FieldDescriptor.TYPE_STRING:
                for text in value if repeated else (value,):
                    if not isinstance(text, str):
                        raise InvalidFileError(
                            f"{where}: {message.DESCRIPTOR.name}.{field.name} is {text[:40]!r}, expected UTF-8; export it again"
                        )


def check_tensors(model: onnx.ModelProto, where: str) -> None:
    """Every tensor, initializers and attributes alike, lies in the model and holds as many numbers as its shape says.

    Requires: ``check_structure`` passed.

    Raises:
        InvalidFileError: with the tensor's name.
    """
    for tensor in tensors_of(model, where):
        name = f"{where}: tensor {tensor.name or 'of an attribute'}"
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise InvalidFileError(f"{name} lies in another file; expected one self-contained file.")
        if tensor.data_type not in _ELEMENT_TYPES or tensor.data_type == onnx.TensorProto.UNDEFINED:
            raise InvalidFileError(
                f"{name} has the element type {tensor.data_type}, expected one of ONNX; export it again"
            )
        if len(tensor.dims) > MOST_AXES or min(tensor.dims, default=0) < 0:
            raise InvalidFileError(
                f"{name} has the shape {list(tensor.dims)[: MOST_AXES + 1]}, expected at most {MOST_AXES} axes and no "
                "negative one; export it again"
            )
        try:
            # As large as the bytes that the tensor holds, whatever its shape promises.
            onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise InvalidFileError(
                f"{name} does not fit its shape {list(tensor.dims)} ({str(error)[:200]}); export it again"
            ) from error


def tensors_of(model: onnx.ModelProto, where: str) -> Iterator[onnx.TensorProto]:
    """Every tensor of the model, wherever it stands."""
    for graph in _graphs(model, where):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in _attributes(model, where):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            *attribute.sparse_tensors,
        ):
            yield from (sparse.values, sparse.indices)


def _graphs(model: onnx.ModelProto, where: str) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for attribute in _attributes(model, where):
        yield from graphs_in(attribute)


def _attributes(model: onnx.ModelProto, where: str) -> Iterator[onnx.AttributeProto]:
    """The attributes of all nodes, of those in nested graphs too, and the functions' default values."""
    pending: list[tuple[int, onnx.AttributeProto]] = []
    for function in model.functions:
        pending += [(0, attribute) for attribute in function.attribute_proto]
        pending += [(0, attribute) for node in function.node for attribute in node.attribute]
    pending += [(0, attribute) for node in model.graph.node for attribute in node.attribute]
    while pending:
        depth, attribute = pending.pop()
        yield attribute
        for graph in graphs_in(attribute):
            if depth + 1 > DEEPEST_GRAPH:
                raise InvalidFileError(f"{where}: graphs are nested more than {DEEPEST_GRAPH} deep; export it again")
            pending += [(depth + 1, inner) for node in graph.node for inner in node.attribute]


def graphs_in(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """The graphs that an attribute holds itself."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _check_size(model: onnx.ModelProto, functions: dict[_FunctionKey, onnx.FunctionProto], where: str) -> None:
    """Counts the nodes that all calls stand for, each function once; a call of a function that is being counted is a cycle."""
    sizes: dict[_FunctionKey, int] = {}
    open_: set[_FunctionKey] = set()

    def size(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            key = (_domain(node.domain), node.op_type, node.overload)
            total += 1 + (of_function(key, depth) if key in functions else 0)
            for attribute in node.attribute:
                for graph in graphs_in(attribute):
                    total += size(graph.node, depth + 1)
            if total > MOST_NODES or depth > _DEEPEST_COUNT:
                raise InvalidFileError(
                    f"{where}: its functions and graphs stand for more than {MOST_NODES} nodes, or nest more than "
                    f"{_DEEPEST_COUNT} deep; expected a network for a small machine"
                )
        return total

    def of_function(key: _FunctionKey, depth: int) -> int:
        if key in open_:
            raise InvalidFileError(f"{where}: function {_text(key)} calls itself; export it again")
        if key not in sizes:
            open_.add(key)
            sizes[key] = size(functions[key].node, depth + 1)
            open_.remove(key)
        return sizes[key]

    size(model.graph.node, 0)
    for key in functions:
        of_function(key, 0)


#: Functions that call functions, and graphs within them: what no writer makes, and Python's stack bears.
_DEEPEST_COUNT = 64


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _text(key: _FunctionKey) -> str:
    domain, name, overload = key
    return repr(f"{domain or 'ai.onnx'}::{name}{':' + overload if overload else ''}")
