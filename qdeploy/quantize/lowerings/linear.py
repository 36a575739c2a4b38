"""Linear: fully connected layers, real ones and those whose matrix is a quaternion's."""

from __future__ import annotations

import onnx

from qdeploy.quantize.lowerings.layer_weight import layer_weight
from qdeploy.quantize.lowerings.product_stage import product_stage
from qdeploy.quantize.lowerings.registry import Context, lowers


@lowers("HamiltonMatrix")
def hamilton_matrix(context: Context, node: onnx.NodeProto) -> None:
    """Nothing by itself: the layer that reads the matrix quantizes its components."""
    del context, node


@lowers("Linear")
def linear(context: Context, node: onnx.NodeProto) -> None:
    """One scale per output (per output quaternion); a ReLU behind it becomes the lower bound."""
    graph = context.integers
    x = context.type_of(node.input[0])
    reader = context.floats.only_reader(node.output[0], "Relu")
    output = reader.output[0] if reader is not None else node.output[0]
    if reader is not None:
        context.done.add(output)
    y = context.output_type(output)
    weight = layer_weight(context, node, x, y)
    stage = product_stage(context, node, weight, x, y)
    graph.node(
        "Linear",
        [node.input[0], weight.name, stage.bias, stage.multiplier],
        [output],
        node.name,
        **stage.attributes(x, relu=reader is not None),
    )
    graph.types[output] = stage.y
    graph.layers.append(
        {
            "name": node.name,
            "operator": "Linear",
            "weight_bits": weight.bits,
            "exact_grid": weight.exact_grid,
            "weight_error": weight.error,
            "activation_bits": x.bits,
            "macs": int(weight.integers.size),
            **weight.record,
            **stage.record,
        }
    )
