"""ReduceMean and ReduceMax of one axis: what a whole sequence comes to."""

from __future__ import annotations

import numpy as np
import onnx

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.lowerings.registry import Context, lowers

OPERATORS = {"ReduceMean": "TimeMean", "ReduceMax": "TimeMax"}


@lowers(*OPERATORS)
def time_reduction(context: Context, node: onnx.NodeProto) -> None:
    """The integer type stays; a kept axis of length 1 is put back behind the operator."""
    graph, source, output = context.integers, node.input[0], node.output[0]
    (axis,) = context.floats.constants[node.input[1]].reshape(-1).tolist()
    kept = bool(attribute(node, "keepdims", 1))
    result = graph.fresh(f"{node.name}.reduced") if kept else output
    operator = OPERATORS[node.op_type]
    graph.node(operator, [source], [result], node.name, axis=int(axis))
    graph.types[result] = graph.types[output] = context.type_of(source)
    graph.layers.append({"name": node.name, "operator": operator})
    if kept:
        axes = graph.constant(f"{node.name}.axes", np.array([axis], np.int64), bits=64)
        graph.standard(onnx.helper.make_node("Unsqueeze", [result, axes], [output], name=f"{node.name}.keep"))
