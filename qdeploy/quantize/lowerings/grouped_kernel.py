"""The kernel of a quaternion convolution with groups: ``GateRows`` of a ``HamiltonMatrix``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.lowerings.layer_weight import WEIGHT_SOURCES, Layer, LayerWeight, weight_source
from qdeploy.quantize.lowerings.quaternion_rows import QuaternionRows
from qdeploy.runtime.errors import UnsupportedModelError


@weight_source("GateRows")
def _grouped_kernel(layer: Layer, producer: onnx.NodeProto) -> LayerWeight:
    """Quantized as the Hamilton matrix, whose rows then change places: one scale per output quaternion.

    Raises:
        UnsupportedModelError: rows of anything but a Hamilton matrix.
    """
    graph = layer.context.integers
    rows = QuaternionRows.of(layer.context.floats, producer.output[0])
    if rows is None:
        raise UnsupportedModelError(
            f"node {producer.name} (GateRows): its rows are not those of a HamiltonMatrix; store the weight as it is"
        )
    bias = layer.bias
    if bias is not None:
        bias = rows.by_part(bias).reshape(-1)
    whole = WEIGHT_SOURCES["HamiltonMatrix"](replace(layer, bias=bias), rows.hamilton)
    places = rows.places(whole.outputs)
    if not any(made.output[0] == producer.output[0] for made in graph.nodes):
        graph.node(
            "GateRows",
            [whole.name],
            [producer.output[0]],
            producer.name,
            parts=int(attribute(producer, "parts")),
            order=list(attribute(producer, "order")),
        )
    return replace(
        whole,
        name=producer.output[0],
        integers=np.ascontiguousarray(whole.integers[places]),
        scale=whole.scale if whole.scale.size == 1 else whole.scale[places],
        bias=whole.bias[places],
        # A quaternion's four outputs stand in its group, so that the scales do not repeat as a whole.
        repeats=1,
    )
