"""Gather of a table of constants by an integer input becomes ``qdeploy.float::Embedding``."""

from __future__ import annotations

import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from ..functions import FLOAT_DOMAIN
from ..index_inputs import EMBEDDING
from .access import attribute_int, constant, insert, label, new_initializer, replace

__all__ = ["check_indices_of_inputs", "look_up_before_loops", "make_embedding"]

_INTEGERS = frozenset({ir.DataType.INT32, ir.DataType.INT64})
_LAYOUT = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Identity", "Cast"})


def make_embedding(model: ir.Model) -> None:
    """Replaces Gather of a constant float table [V, D] on axis 0 by ``Embedding``, and Casts between integer types before it.

    Requires: constants are folded. Ensures: no Gather has float constants as its data and computed indices.

    Raises:
        UnsupportedModelError: such a Gather along another axis, of a table of another rank, or whose indices are no integer
            input.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Gather":
            _gather(node)
    held = {value for value in model.graph.inputs if value.dtype in _INTEGERS}
    for node in list(model.graph):
        source, output = (node.inputs[0] if node.inputs else None), node.outputs[0]
        if source not in held or node.domain != "" or node.op_type not in _LAYOUT:
            continue
        if node.op_type == "Cast" and _between_integers(node) and not output.is_graph_output():
            replace(output, source)
            model.graph.remove(node, safe=True)
        else:
            held.add(output)


def _gather(node: ir.Node) -> None:
    table, indices = node.inputs[0], node.inputs[1]
    array = constant(table)
    if table is None or indices is None or array is None or array.dtype.kind != "f" or constant(indices) is not None:
        return
    axis = attribute_int(node, "axis", 0)
    if array.ndim != 2 or axis not in (0, -2):
        raise UnsupportedModelError(
            f"{label(node)}: takes parts of constants {list(array.shape)} along axis {axis} by computed indices, expected the "
            "rows of a table [vocabulary, size] along axis 0, an embedding"
        )
    _source(node, indices)
    made = insert(node, EMBEDDING, [indices, table], domain=FLOAT_DOMAIN, name=node.name)
    made.outputs[0].shape, made.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    graph = node.graph
    replace(node.outputs[0], made.outputs[0])
    if graph is not None:
        graph.remove(node, safe=True)


def _source(reader: ir.Node, indices: ir.Value) -> ir.Value:
    """The input of the graph that ``indices`` come from, by layout operators alone."""
    value = indices
    while True:
        node = value.producer()
        if node is None:
            break
        first = node.inputs[0] if node.inputs else None
        if node.domain != "" or node.op_type not in _LAYOUT or first is None:
            raise UnsupportedModelError(
                f"{label(reader)}: its indices are computed by {label(node)}, expected an integer input of the model; give the "
                "indices as they shall be looked up"
            )
        value = first
    if value.dtype not in _INTEGERS:
        kind = "unknown" if value.dtype is None else value.dtype.name
        raise UnsupportedModelError(
            f"{label(reader)}: its indices come from {value.name} of type {kind}, expected an input of type INT64 or INT32; "
            "declare that input as integer and export the model again"
        )
    return value


def _between_integers(node: ir.Node) -> bool:
    return attribute_int(node, "to", 0) in {int(kind) for kind in _INTEGERS}


def look_up_before_loops(model: ir.Model) -> None:
    """Moves an ``Embedding`` of one step's indices out of a Scan: the rows of all steps go into it.

    Ensures: of a Scan's sequences of indices that embeddings of one table alone read, none is left.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "Scan":
            body = node.attributes["body"].as_graph()
            scanned = attribute_int(node, "num_scan_inputs", 1)
            for place in range(max(0, len(node.inputs) - scanned), min(len(node.inputs), len(body.inputs))):
                _look_up_before(node, body, place)


def _look_up_before(loop: ir.Node, body: ir.Graph, place: int) -> None:
    step, sequence = body.inputs[place], loop.inputs[place]
    readers = [use.node for use in step.uses()]
    tables = {reader.inputs[1] for reader in readers if reader.op_type == EMBEDDING and reader.domain == FLOAT_DOMAIN}
    alone = len(tables) == 1 and all(reader.op_type == EMBEDDING and reader.graph is body for reader in readers)
    table = next(iter(tables), None)
    if sequence is None or table is None or not alone or step in body.outputs:
        return
    graph = loop.graph
    if table.graph is body and isinstance(graph, ir.Graph):
        array = constant(table)
        if array is None:
            return
        table = new_initializer(graph, f"{readers[0].name}.table", array)
    name = readers[0].name
    rows = insert(loop, EMBEDDING, [sequence, table], domain=FLOAT_DOMAIN, name=name)
    size = None if table.shape is None else table.shape[1]
    found = rows.outputs[0]
    found.type = step_type = ir.TensorType(ir.DataType.FLOAT)
    if sequence.shape is not None:
        found.shape = ir.Shape([*sequence.shape, size])
    loop.replace_input_with(place, found)
    whole = ir.Value(
        name=f"{name}.step", type=step_type, shape=None if step.shape is None else ir.Shape([*step.shape, size])
    )
    body.inputs[place] = whole
    for reader in readers:
        ir.convenience.replace_all_uses_with(reader.outputs[0], whole)
        body.remove(reader, safe=True)


def check_indices_of_inputs(model: ir.Model) -> None:
    """Ensures that integer inputs are read as indices, through layout operators, and in no other way.

    Raises:
        UnsupportedModelError: an embedding of computed indices, or another reader of an integer input.
    """
    held = {value for value in model.graph.inputs if value.dtype in _INTEGERS}
    for node in model.graph:
        if node.domain == FLOAT_DOMAIN and node.op_type == EMBEDDING and node.inputs[0] is not None:
            if constant(node.inputs[0]) is None:
                _source(node, node.inputs[0])
            continue
        if not any(value in held for value in node.inputs if value is not None):
            continue
        moved = node.domain == "" and node.op_type in _LAYOUT and node.inputs[0] in held
        if not moved or (node.op_type == "Cast" and not _between_integers(node)):
            read = next(value for value in node.inputs if value is not None and value in held)
            raise UnsupportedModelError(
                f"{label(node)}: reads the integer input {_source(node, read).name}, expected that "
                "embeddings alone read it; an Embedding does what one_hot and a product do, and what else is "
                "computed of it goes in as a float input"
            )
        held.update(node.outputs)
    for value in model.graph.outputs:
        if value in held:
            raise UnsupportedModelError(f"output {value.name}: gives an integer input back, expected results of layers")
