"""A float image classifier as a ``.tflite`` file of LiteRT's own float operators: what a user would deploy instead.

Written of the expanded float network: FULLY_CONNECTED, CONV_2D and MAX_POOL_2D with ReLU inside, channels last throughout, the
first layer behind the images with its weights in that order. So nothing is moved at run time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.export.tflite.generator import SIGNATURE
from qdeploy.export.tflite.writer import ModelWriter, Subgraph, Value

__all__ = ["float_file", "images_last"]

_RELU = 1
_SAME, _VALID = 0, 1


def images_last(x: NDArray[Any]) -> NDArray[Any]:
    """Images ``[B, C, H, W]`` as the file takes them, ``[B, H, W, C]``; other samples as they are."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def float_file(model: onnx.ModelProto, shape: tuple[int, ...]) -> bytes:
    """The file.

    Args:
        model: the expanded float network: Linear, Conv, MaxPool, Relu and Reshape to rows, one after the other.
        shape: of one sample: ``[N]`` or ``[C, H, W]``.

    Raises:
        ValueError: it has another operator, or a use of one that is not written here.
    """
    return _Network(model, shape).to_bytes()


@dataclass
class _Network:
    model: onnx.ModelProto
    shape: tuple[int, ...]
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in self.model.graph.initializer}
        writer = ModelWriter("float")
        number, graph = writer.subgraph("main")
        shape = (*self.shape[1:], self.shape[0]) if len(self.shape) == 3 else self.shape
        x = value = graph.input("x", np.float32, (1, *shape))
        nodes = list(self.model.graph.node)
        while nodes:
            node = nodes.pop(0)
            rectified = bool(nodes) and nodes[0].op_type == "Relu"
            if rectified:
                nodes.pop(0)
            value = self._written(graph, node, value, _RELU if rectified else 0)
        graph.output(value)
        writer.signature(SIGNATURE, number, {"x": x}, {"y": value})
        return writer.to_bytes()

    def _written(self, graph: Subgraph, node: onnx.NodeProto, x: Value, activation: int) -> Value:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Linear":
            return self._linear(graph, node, x, activation)
        if node.op_type == "Conv" and attributes["group"] == 1:
            return self._conv(graph, node, attributes, x, activation)
        if node.op_type == "MaxPool" and not activation and not any(attributes["pads"]):
            return _max_pool(graph, attributes, x)
        if node.op_type == "Reshape" and not activation:
            # Rows of images, channels last: whoever reads them has its weights in this order.
            return x
        message = f"node {node.name} ({node.op_type}, {attributes}): no float form of LiteRT is written here"
        raise ValueError(message)

    def _linear(self, graph: Subgraph, node: onnx.NodeProto, x: Value, activation: int) -> Value:
        weight, bias = (self.constants[name] for name in node.input[1:])
        sizes = [size for size in x.shape[1:] if size is not None]
        if len(sizes) == 3:
            height, width, channels = sizes
            by_channel = weight.reshape(-1, channels, height, width)
            weight = by_channel.transpose(0, 2, 3, 1).reshape(len(weight), -1)
            x = graph.add("RESHAPE", [x, graph.constant([1, weight.shape[1]])], np.float32, (1, weight.shape[1]))
        inputs = [x, graph.constant(weight, np.float32), graph.constant(bias, np.float32)]
        return graph.add("FULLY_CONNECTED", inputs, np.float32, (1, len(weight)), fused_activation=activation)

    def _conv(
        self, graph: Subgraph, node: onnx.NodeProto, attributes: dict[str, Any], x: Value, activation: int
    ) -> Value:
        weight, bias = (self.constants[name] for name in node.input[1:])
        strides, pads, kernel = attributes["strides"], attributes["pads"], weight.shape[2:]
        sizes = [size for size in x.shape[1:3] if size is not None]
        same = (
            list(strides) == [1, 1] and list(pads) == [size // 2 for size in kernel] * 2 and all(k % 2 for k in kernel)
        )
        if (any(pads) and not same) or list(attributes["dilations"]) != [1, 1]:
            message = f"node {node.name} (Conv): pads {pads} with strides {strides} are neither SAME nor VALID"
            raise ValueError(message)
        spans = sizes if same else [size - k + 1 for size, k in zip(sizes, kernel, strict=True)]
        out = [-(-span // stride) for span, stride in zip(spans, strides, strict=True)]
        inputs = [x, graph.constant(weight.transpose(0, 2, 3, 1), np.float32), graph.constant(bias, np.float32)]
        return graph.add(
            "CONV_2D",
            inputs,
            np.float32,
            (1, *out, len(weight)),
            padding=_SAME if same else _VALID,
            stride_h=strides[0],
            stride_w=strides[1],
            fused_activation=activation,
        )


def _max_pool(graph: Subgraph, attributes: dict[str, Any], x: Value) -> Value:
    kernel, strides = attributes["kernel_shape"], attributes["strides"]
    sizes = [size for size in x.shape[1:3] if size is not None]
    out = [(size - k) // stride + 1 for size, k, stride in zip(sizes, kernel, strides, strict=True)]
    return graph.add(
        "MAX_POOL_2D",
        [x],
        np.float32,
        (1, *out, x.shape[3]),
        padding=_VALID,
        stride_h=strides[0],
        stride_w=strides[1],
        filter_height=kernel[0],
        filter_width=kernel[1],
    )
