"""Names that people can read: the module's path instead of an exporter's numbering."""

from __future__ import annotations

import re

import onnx_ir as ir

from ..functions import FLOAT_DOMAIN, RECURRENT
from .access import constant

__all__ = ["name_nodes", "name_values"]

# Exporters name a node by its module's path and its operator: /fc1/MatMul.
_ENDINGS = re.compile(r"[./](MatMul|Gemm|Conv|ConvTranspose|Add|RNN|GRU|LSTM|Scan)(_\d+)?$")
_LAYERS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose", "RNN", "GRU", "LSTM", "Scan"})

# What the results of a recurrent layer are called.
_RESULTS = dict.fromkeys(RECURRENT, (".states", ".last")) | {"LSTM": (".states", ".last", ".cell")}

# What the further inputs of a layout operator are called.
_PARAMETERS = {
    "Reshape": ("shape",),
    "Gather": ("indices",),
    "Squeeze": ("axes",),
    "Unsqueeze": ("axes",),
    "Slice": ("starts", "ends", "axes", "steps"),
}


def name_nodes(model: ir.Model) -> None:
    """Gives every node a name of its own.

    A layer keeps the path of its module (``/fc1/MatMul`` is ``fc1``), others take their operator's name. Ensures: names
    are unique, not empty, and hold letters, digits, ``.`` and ``_`` only.
    """
    taken: set[str] = set()
    # Layers first: a MatMul and the Add of its bias have one module, and its name is the layer's.
    for node in sorted(model.graph, key=lambda one: not _is_layer(one)):
        name = (node.name or "").removeprefix("node_")
        if _is_layer(node):
            name = _ENDINGS.sub("", name)
        name = re.sub(r"[^A-Za-z0-9_.]", "_", name.strip("/").replace("/", ".")).strip(".") or node.op_type.lower()
        node.name = _unique(name, taken)


def name_values(model: ir.Model) -> None:
    """Names results after their nodes and layout parameters after what they are.

    Requires: nodes have names. Ensures: a node's result is called ``<node>``, those of a recurrent layer
    ``<node>.states`` and ``<node>.last``, and of an LSTM ``<node>.cell`` as well; inputs, outputs and weights of the
    graph keep their names, and all names are unique.
    """
    graph = model.graph
    # onnx_ir keys initializers by name: those that change it are registered anew.
    for node in graph:
        for index, parameter in enumerate(_PARAMETERS.get(node.op_type, ()), start=1):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is None or constant(value) is None or not value.is_initializer() or len(list(value.uses())) != 1:
                continue
            name = f"{node.name}.{parameter}"
            if name not in graph.initializers and value.name != name:
                graph.initializers.pop(str(value.name))
                value.name = name
                graph.register_initializer(value)
    taken = {str(value.name) for value in (*graph.inputs, *graph.outputs, *graph.initializers.values())}
    for node in graph:
        endings = _RESULTS.get(node.op_type, ("",)) if node.domain == FLOAT_DOMAIN else ("",)
        for value, ending in zip(node.outputs, endings, strict=False):
            if not value.is_graph_output():
                value.name = _unique(f"{node.name}{ending}", taken)


def _is_layer(node: ir.Node) -> bool:
    return node.domain == FLOAT_DOMAIN or (node.domain == "" and node.op_type in _LAYERS)


def _unique(name: str, taken: set[str]) -> str:
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return unique
