"""Copies of a model that show what lies between its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import onnx

from qdeploy.runtime.ops import operator_name

__all__ = ["Producer", "constants_model", "has_operators", "producers", "show"]

_DOMAIN = "qdeploy"
#: What tells functions apart: domain, name, overload.
_Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True)
class Producer:
    """The top-level node that gives a tensor; ``position`` is topological."""

    position: int
    node: str
    operator: str
    output: int


def has_operators(model: onnx.ModelProto) -> bool:
    """Whether the graph holds layer-sized operators; an inlined file does not."""
    return any(node.domain == _DOMAIN for node in model.graph.node)


def producers(model: onnx.ModelProto) -> Mapping[str, Producer]:
    """Each tensor's node."""
    return {
        name: Producer(position, node.name or f"{node.op_type}_{position}", operator_name(node.op_type), output)
        for position, node in enumerate(model.graph.node)
        for output, name in enumerate(node.output)
        if name
    }


def show(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with every tensor between layers, and all steps of all states, among its outputs.

    The bodies stay those of ``model``. Only a recurrent layer that gives its last state alone gets a new body, the one
    that emits every step: what it has in the file is compared by the graph's own outputs.
    """
    if not has_operators(model):
        return model
    from qdeploy.export.onnx import expose

    shown = expose(model)
    shipped = {(f.domain, f.name, f.overload): f for f in model.functions}
    functions = {(f.domain, f.name, f.overload): f for f in shown.functions} | shipped
    for node, original in zip(shown.graph.node, model.graph.node, strict=True):
        if list(node.output) == list(original.output):
            node.op_type = original.op_type
    # A type is what the runtime infers; expose knows those of layers only.
    own = {value.name for value in model.graph.output}
    for index, value in enumerate(shown.graph.output):
        if value.name not in own:
            shown.graph.output[index].CopyFrom(onnx.ValueInfoProto(name=value.name))
    _keep_used(shown, functions)
    return shown


def _keep_used(model: onnx.ModelProto, functions: Mapping[_Key, onnx.FunctionProto]) -> None:
    """Leaves the functions that the graph calls, directly or through others."""
    used: dict[_Key, onnx.FunctionProto] = {}
    pending = list(model.graph.node)
    while pending:
        node = pending.pop()
        key = (node.domain, node.op_type, node.overload)
        if key in functions and key not in used:
            used[key] = functions[key]
            pending += functions[key].node
    del model.functions[:]
    model.functions.extend(used.values())


def constants_model(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The nodes that depend on initializers alone (unpacked weights, Hamilton matrices), every result an output.

    None where there are none. They stand apart because showing them would keep a runtime from folding them.
    """
    known = {tensor.name for tensor in model.graph.initializer}
    chosen: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.domain == _DOMAIN and all(name in known for name in node.input if name):
            chosen.append(node)
            known.update(name for name in node.output if name)
    if not chosen:
        return None
    needed = {name for node in chosen for name in node.input}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    for repeated in (
        part.graph.node,
        part.graph.input,
        part.graph.output,
        part.graph.initializer,
        part.graph.value_info,
    ):
        del repeated[:]
    from qdeploy.export.onnx.attach import made_of_constants

    part.graph.node.extend(chosen)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    for node in chosen:
        part.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, made_of_constants(operator_name(node.op_type)), None)
            for name in node.output
            if name
        )
    return part
