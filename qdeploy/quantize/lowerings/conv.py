"""Conv: convolutions, real ones and those whose kernel is made of quaternions."""

from __future__ import annotations

import math

import onnx

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.layer_weight import layer_weight
from qdeploy.quantize.lowerings.product_stage import product_stage
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.single_precision import hindrance
from qdeploy.runtime.ops.qlinear_conv import ROUNDING


@lowers("Conv")
def conv(context: Context, node: onnx.NodeProto) -> None:
    """One scale per output channel (per output quaternion); a ReLU or Clip behind it becomes its bounds.

    A recipe may ask for the standard QLinearConv: where its single precision is exact the layer becomes one, elsewhere its
    record says why not.
    """
    graph = context.integers
    x = context.type_of(node.input[0])
    output = bounded_output(context, node.output[0])
    asked = context.recipe.conv_kernels == "qlinear"
    strict_because = hindrance(context, node, x, output.type) if asked else None
    wanted = asked and strict_because is None
    weight = layer_weight(context, node, x, output.type, single_precision=wanted)
    stage = product_stage(context, node, weight, x, output.type, single_precision=wanted)
    operator = "QLinearConv" if stage.single_precision else "Conv"
    rounding = {"rounding": ROUNDING} if stage.single_precision else {}
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
            **({} if strict_because is None else {"strict_because": strict_because}),
            **stage.record,
            **weight.record,
        }
    )
