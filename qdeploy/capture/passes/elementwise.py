"""Chains of operators on one value, such as those that SiLU or GELU are written as, become one function each."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from ..elementwise import ELEMENTWISE, ELEMENTWISE_OPERATORS
from ..functions import FLOAT_DOMAIN, OPSET
from .access import constant, insert, replace

__all__ = ["join_elementwise"]

_KINDS = (None, ir.DataType.FLOAT, ir.DataType.BOOL)
_BOUNDS = frozenset({"Relu", "Clip"})
_AFFINE = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Identity"})


def join_elementwise(model: ir.Model) -> list[onnx.FunctionProto]:
    """Replaces every tree of element-wise operators over one activation and single numbers by one node.

    Trees that are one operator stay, and so do those of bounds and of sums and products with numbers alone, which layers
    take in. A bound or such a sum at the root of a tree stays in front of it.

    Requires: loops are converted, whose steps are made of the same operators. Ensures: the tree's result is computed by one
    node of ``qdeploy.float::Elementwise``.

    Returns:
        The functions that the new nodes call.
    """
    roots = _roots(model)
    functions: list[onnx.FunctionProto] = []
    for node in list(model.graph):
        output = node.outputs[0]
        if output not in roots or node.graph is None:
            continue
        root = roots[output]
        inside = all(roots.get(use.node.outputs[0]) is root for use in output.uses())
        if inside and not output.is_graph_output():
            continue
        tree = _tree(output, root, roots)
        root, tree = _trimmed(root, tree)
        if len(tree) < 2 or _is_bounded_line(tree):
            continue
        function = _function(root, tree, f"{node.name}_{len(functions)}")
        functions.append(function)
        joined = insert(
            node, ELEMENTWISE, [root], domain=FLOAT_DOMAIN, overload=function.overload, name=node.name
        ).outputs[0]
        joined.type, joined.shape = output.type, output.shape
        replace(output, joined)
    if functions:
        common.RemoveUnusedNodesPass()(model)
    return functions


def _activations(node: ir.Node) -> list[ir.Value] | None:
    """The inputs of ``node`` that are no single numbers; None where one is a constant of several."""
    found = []
    for value in node.inputs:
        array = None if value is None else constant(value)
        if array is not None and array.size != 1:
            return None
        if value is not None and array is None:
            found.append(value)
    return found


def _roots(model: ir.Model) -> dict[ir.Value, ir.Value]:
    """By result of an element-wise operator, the one activation that it is a function of."""
    roots: dict[ir.Value, ir.Value] = {}
    for node in model.graph:
        if node.domain != "" or node.op_type not in ELEMENTWISE_OPERATORS or len(node.outputs) != 1:
            continue
        activations = _activations(node)
        # Sizes are computed by the same operators, on integers.
        if not activations or any(value.dtype not in _KINDS for value in activations):
            continue
        sources = {roots.get(value, value) for value in activations}
        if len(sources) == 1:
            roots[node.outputs[0]] = sources.pop()
    return roots


def _tree(output: ir.Value, root: ir.Value, roots: dict[ir.Value, ir.Value]) -> list[ir.Node]:
    """The nodes between ``root`` and ``output``, in the graph's order."""
    found: dict[ir.Node, None] = {}
    pending = [output]
    while pending:
        node = pending.pop().producer()
        if node is None or node in found:
            continue
        found[node] = None
        pending += [value for value in node.inputs if value is not None and roots.get(value) is root]
    graph = output.producer()
    order = (
        {node: place for place, node in enumerate(graph.graph)} if graph is not None and graph.graph is not None else {}
    )
    return sorted(found, key=lambda node: order[node])


def _trimmed(root: ir.Value, tree: list[ir.Node]) -> tuple[ir.Value, list[ir.Node]]:
    """Without bounds, and sums and products with numbers, that stand alone between the root and all else."""
    while len(tree) > 1:
        first = tree[0]
        uses = [node for node in tree if root in node.inputs]
        if uses != [first] or first.op_type not in _BOUNDS | _AFFINE or list(first.inputs).count(root) > 1:
            break
        root, tree = first.outputs[0], tree[1:]
    return root, tree


def _is_bounded_line(tree: list[ir.Node]) -> bool:
    """Bounds, sums and products with numbers, one behind the other."""
    return all(node.op_type in _BOUNDS | _AFFINE and len(_activations(node) or []) == 1 for node in tree)


def _function(root: ir.Value, tree: list[ir.Node], overload: str) -> onnx.FunctionProto:
    """The function whose body is the tree, with its numbers as constants."""
    names: dict[ir.Value, str] = {root: "x", tree[-1].outputs[0]: "y"}
    nodes: list[onnx.NodeProto] = []
    for node in tree:
        inputs = []
        for value in node.inputs:
            array = None if value is None else constant(value)
            if value is not None and array is not None and value not in names:
                names[value] = f"number_{len(names)}"
                number = onnx.numpy_helper.from_array(np.asarray(array).reshape(()))
                nodes.append(onnx.helper.make_node("Constant", [], [names[value]], value=number))
            inputs.append("" if value is None else names[value])
        output = names.setdefault(node.outputs[0], f"value_{len(names)}")
        copy = onnx.NodeProto()
        copy.CopyFrom(ir.to_proto(node))
        del copy.input[:], copy.output[:], copy.metadata_props[:]
        copy.input.extend(inputs)
        copy.output.append(output)
        copy.name = ""
        nodes.append(copy)
    function: onnx.FunctionProto = onnx.helper.make_function(
        FLOAT_DOMAIN, ELEMENTWISE, ["x"], ["y"], nodes, [onnx.helper.make_opsetid("", OPSET)], overload=overload
    )
    return function
