"""Reading and rewiring an onnx_ir graph: what all passes share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = [
    "attribute_float",
    "attribute_int",
    "attribute_ints",
    "attribute_strings",
    "constant",
    "insert",
    "is_zero",
    "label",
    "new_initializer",
    "only_consumer",
    "replace",
]

# Operators whose result is zero wherever their first input is.
_ZERO_KEEPING = frozenset(
    {"Expand", "Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Gather", "Split", "Tile"}
)


def label(node: ir.Node) -> str:
    """How an error names ``node``."""
    domain = f"{node.domain}::" if node.domain else ""
    name = node.name or f"that writes {node.outputs[0].name}"
    return f"node {name} ({domain}{node.op_type})"


def attribute_int(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute, or ``default`` where the node has none."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def attribute_float(node: ir.Node, name: str, default: float) -> float:
    """A float attribute, or ``default`` where the node has none."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def attribute_ints(node: ir.Node, name: str) -> list[int] | None:
    """A list of integers, ``None`` where the node has none."""
    attribute = node.attributes.get(name)
    return None if attribute is None else [int(value) for value in attribute.as_ints()]


def attribute_strings(node: ir.Node, name: str) -> list[str] | None:
    """A list of strings, ``None`` where the node has none."""
    attribute = node.attributes.get(name)
    return None if attribute is None else [str(value) for value in attribute.as_strings()]


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The array of ``value`` where it is an initializer, a Constant, or a rearrangement of one."""
    if value is None:
        return None
    if value.const_value is not None:
        return value.const_value.numpy()
    node = value.producer()
    if node is None or node.domain != "":
        return None
    if node.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(value)
        return None if tensor is None else tensor.numpy()
    if node.op_type not in {"Identity", "Transpose", "Unsqueeze", "Squeeze", "Neg"}:
        return None
    array = constant(node.inputs[0])
    if array is None:
        return None
    if node.op_type == "Transpose":
        return np.transpose(array, attribute_ints(node, "perm"))
    if node.op_type == "Neg":
        return -array
    if node.op_type in {"Unsqueeze", "Squeeze"}:
        axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if axes is None:
            return np.squeeze(array) if node.op_type == "Squeeze" else None
        places = tuple(int(axis) for axis in axes.reshape(-1))
        return np.squeeze(array, places) if node.op_type == "Squeeze" else np.expand_dims(array, places)
    return array


def is_zero(value: ir.Value | None) -> bool:
    """Whether ``value`` is provably zero everywhere, whatever its shape."""
    if value is None:
        return True
    array = constant(value)
    if array is not None:
        return not array.any()
    node = value.producer()
    if node is None or node.domain != "":
        return False
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        return fill is None or not fill.as_tensor().numpy().any()
    if node.op_type == "Concat":
        return all(is_zero(one) for one in node.inputs)
    if node.op_type == "MatMul" or (node.op_type == "Gemm" and is_zero([*node.inputs, None][2])):
        # Finite weights are checked elsewhere.
        return any(is_zero(one) for one in node.inputs[:2])
    return node.op_type in _ZERO_KEEPING and is_zero(node.inputs[0])


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The node that alone reads ``value``; ``None`` for an output of the graph or several readers."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def new_initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """A new initializer; a name that is taken gets a number."""
    unique, number = name, 1
    while unique in graph.initializers:
        number += 1
        unique = f"{name}_{number}"
    tensor = ir.tensor(np.array(array, order="C"), name=unique)
    value = ir.Value(name=unique, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
    graph.register_initializer(value)
    return value


def insert(
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    *,
    domain: str = "",
    overload: str = "",
    name: str | None = None,
    attributes: Mapping[str, int | float | str | list[int]] | None = None,
    outputs: int = 1,
) -> ir.Node:
    """A new node in front of ``before``."""
    graph = before.graph
    if graph is None:
        raise ValueError(f"{label(before)} is in no graph")
    node = ir.Node(
        domain,
        op_type,
        inputs,
        [ir.convenience.convert_attribute(key, value) for key, value in (attributes or {}).items()],
        overload=overload,
        name=name,
        num_outputs=outputs,
    )
    graph.insert_before(before, node)
    return node


def replace(old: ir.Value, new: ir.Value) -> None:
    """Every reader of ``old`` reads ``new``; an output of the graph keeps its name."""
    graph = old.graph
    if old.is_graph_output() and graph is not None:
        places = [index for index, output in enumerate(graph.outputs) if output is old]
        name = old.name
        direct = new.producer() is not None and not new.is_graph_output()
        if direct:
            target = new
        else:
            # An input, an initializer or another output cannot take a second name: a copy carries it.
            producer = old.producer()
            if producer is None:
                raise ValueError(f"output {name} has no producer")
            target = insert(producer, "Identity", [new]).outputs[0]
        old.name = None
        target.name = name
        target.shape = target.shape or old.shape
        target.type = target.type or old.type
        for place in places:
            graph.outputs[place] = target
    ir.convenience.replace_all_uses_with(old, new)
