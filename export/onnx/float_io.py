"""``--float-io``: one QuantizeLinear at each input, one DequantizeLinear at each output, states included."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

QUANTIZE_INT16_OPSET = 21
"""The first opset whose QuantizeLinear and DequantizeLinear know 16-bit integers."""


def add_float_borders(model: onnx.ModelProto, scales: Mapping[str, tuple[float, int]]) -> onnx.ModelProto:
    """A copy of an integer model that takes and gives float32.

    Requires: ``model`` before bodies are attached; ``scales`` has (scale, zero point) of every graph input and output that
    stands for real values, and leaves out indices.
    Ensures: those inputs and outputs keep their names and become float32; indices stay as they are.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    before, after = [], []
    for value in (one for one in graph.input if one.name in scales):
        integer = f"{value.name}.integer"
        _rename(graph, value.name, integer, outputs=False)
        before.append(_border(graph, "QuantizeLinear", value, value.name, integer, scales[value.name]))
    for value in graph.output:
        integer = f"{value.name}.integer"
        _rename(graph, value.name, integer, outputs=True)
        after.append(_border(graph, "DequantizeLinear", value, integer, value.name, scales[value.name]))
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    for entry in result.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = max(entry.version, QUANTIZE_INT16_OPSET)
    return result


def _rename(graph: onnx.GraphProto, name: str, new: str, *, outputs: bool) -> None:
    for node in graph.node:
        node.input[:] = [new if found == name else found for found in node.input]
        if outputs:
            node.output[:] = [new if found == name else found for found in node.output]


def _border(
    graph: onnx.GraphProto,
    operator: str,
    value: onnx.ValueInfoProto,
    source: str,
    target: str,
    quantization: tuple[float, int],
) -> onnx.NodeProto:
    scale, zero_point = quantization
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    prefix = f"{value.name}.{operator}"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(scale, np.float32), f"{prefix}.scale"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(zero_point, dtype), f"{prefix}.zero_point"))
    value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return onnx.helper.make_node(
        operator, [source, f"{prefix}.scale", f"{prefix}.zero_point"], [target], name=f"{prefix}"
    )
