"""Linear: fully connected layers, real ones and those whose matrix is a quaternion's."""

from __future__ import annotations

import onnx

from qdeploy.quantize.asked_kernels import asked_kernels
from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.layer_weight import layer_weight
from qdeploy.quantize.lowerings.product_stage import product_stage
from qdeploy.quantize.lowerings.registry import Context, lowers


@lowers("HamiltonMatrix")
def hamilton_matrix(context: Context, node: onnx.NodeProto) -> None:
    """Nothing by itself: the layer that reads the matrix quantizes its components."""
    del context, node


@lowers("Linear")
def linear(context: Context, node: onnx.NodeProto) -> None:
    """One scale per output (per output quaternion); a ReLU or Clip behind it becomes its bounds.

    Where a recipe asks for LiteRT's own kernels, and they are exact, the layer takes their rounding.
    """
    graph = context.integers
    x = context.type_of(node.input[0])
    output = bounded_output(context, node.output[0])
    kernels = asked_kernels(context, node, x, output.type)
    weight = layer_weight(context, node, x, output.type, single_precision=kernels.wanted)
    stage = product_stage(context, node, weight, x, output.type, single_precision=kernels.wanted)
    graph.node(
        "Linear",
        [node.input[0], weight.name, stage.bias, stage.multiplier],
        [output.name],
        node.name,
        **stage.attributes(x, output),
        **stage.rounding,
    )
    graph.types[output.name] = stage.y
    graph.layers.append(
        {
            "name": node.name,
            "operator": "Linear",
            "weight_bits": weight.bits,
            "exact_grid": weight.exact_grid,
            "weight_error": weight.error,
            "activation_bits": x.bits,
            "macs": int(weight.integers.size),
            **stage.rounding,
            **kernels.record,
            **weight.record,
            **stage.record,
        }
    )
