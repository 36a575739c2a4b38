"""Conv: convolutions, real ones and those whose kernel is made of quaternions."""

from __future__ import annotations

import math

import onnx

from qdeploy.quantize.asked_kernels import asked_kernels
from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.layer_weight import layer_weight
from qdeploy.quantize.lowerings.product_stage import product_stage
from qdeploy.quantize.lowerings.registry import Context, lowers


@lowers("Conv")
def conv(context: Context, node: onnx.NodeProto) -> None:
    """One scale per output channel (per output quaternion); a ReLU or Clip behind it becomes its bounds.

    A recipe may ask for the standard QLinearConv, or for LiteRT's own kernels: where their single precision is exact the
    layer takes their rounding, elsewhere its record says why not.
    """
    graph = context.integers
    x = context.type_of(node.input[0])
    output = bounded_output(context, node.output[0])
    kernels = asked_kernels(context, node, x, output.type)
    wanted = kernels.wanted
    weight = layer_weight(context, node, x, output.type, single_precision=wanted)
    stage = product_stage(context, node, weight, x, output.type, single_precision=wanted)
    operator = "QLinearConv" if stage.single_precision and context.recipe.conv_kernels == "qlinear" else "Conv"
    rounding = stage.rounding
    kernel = weight.integers.shape[2:]
    rank = len(kernel)
    windows = {
        "strides": list(attribute(node, "strides", [1] * rank)),
        "pads": list(attribute(node, "pads", [0] * (2 * rank))),
        "dilations": list(attribute(node, "dilations", [1] * rank)),
    }
    group = int(attribute(node, "group", 1))
    graph.node(
        operator,
        [node.input[0], weight.name, stage.bias, stage.multiplier],
        [output.name],
        node.name,
        **windows,
        group=group,
        **stage.attributes(x, output),
        **rounding,
    )
    graph.types[output.name] = stage.y
    positions = context.calibration[node.output[0]].sizes[2:]
    graph.layers.append(
        {
            "name": node.name,
            "operator": operator,
            "weight_bits": weight.bits,
            "exact_grid": weight.exact_grid,
            "weight_error": weight.error,
            "activation_bits": x.bits,
            "macs": int(weight.integers.size) * math.prod(positions),
            "kernel": list(kernel),
            "group": group,
            **windows,
            **rounding,
            **kernels.record,
            **stage.record,
            **weight.record,
        }
    )
