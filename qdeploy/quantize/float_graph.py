"""Reading access to a float model in layer form: who makes a tensor, who reads it, which tensors are constant."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.capture.computed_weights import computed_weights
from qdeploy.capture.elementwise import elementwise_function
from qdeploy.runtime.errors import UnsupportedModelError

FLOAT_DOMAIN = "qdeploy.float"


LAYOUT_OPERATORS = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather", "Identity")
"""Standard operators that move one activation's data and keep its type."""


FACTOR_INPUT = 3
"""Behind x, weight and bias: factors ``[N]`` of a layer ``y = factor (W x) + bias``, only within the quantization."""

NORM_PLACE = "batch_norm"
"""A layer's attribute that says where its batch normalization went, for the manifest."""


class FloatGraph:
    """Indexes over the top-level graph of a float model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.nodes = list(model.graph.node)
        self.inputs = list(model.graph.input)
        self.outputs = [value.name for value in model.graph.output]
        self.constants: dict[str, NDArray[Any]] = {
            t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer
        }
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                if name:
                    self._readers.setdefault(name, []).append(node)

    @cached_property
    def computed(self) -> dict[str, NDArray[np.float32]]:
        """The matrices that nodes make of constants, such as a quaternion layer's."""
        return computed_weights(self._model)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read tensor ``name``."""
        return self._readers.get(name, [])

    def only_reader(self, name: str, *operators: str) -> onnx.NodeProto | None:
        """The one reader of ``name`` if it is one of ``operators`` and nothing else sees the tensor."""
        readers = self.readers(name)
        if len(readers) == 1 and readers[0].op_type in operators and name not in self.outputs:
            return readers[0]
        return None

    def input_behind(self, name: str) -> str | None:
        """The input of the network that layout operators made ``name`` of, itself included; None where it is computed."""
        inputs = {value.name for value in self.inputs}
        while name not in inputs:
            node = self.producers.get(name)
            if node is None or node.op_type not in LAYOUT_OPERATORS:
                return None
            name = node.input[0]
        return name

    def function_of(self, node: onnx.NodeProto) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """The function of one value that ``node`` computes, in float64."""
        bodies = [function for function in self._model.functions if node.domain == FLOAT_DOMAIN]
        body = next((f for f in bodies if (f.name, f.overload) == (node.op_type, node.overload)), None)
        return elementwise_function(node, self.constants, body)

    def constant(self, node: onnx.NodeProto, index: int, what: str) -> NDArray[np.float32]:
        """Input ``index`` of ``node`` as a constant, or as what nodes make of constants alone.

        Raises:
            UnsupportedModelError: when the network computes it.
        """
        name = node.input[index] if index < len(node.input) else ""
        if name not in self.constants:
            if name in self.computed:
                return self.computed[name]
            raise UnsupportedModelError(
                f"node {node.name} ({node.op_type}): its {what} ({name or 'absent'}) is computed by the network; "
                "expected a trained constant."
            )
        return self.constants[name].astype(np.float32)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """A node's attribute as plain Python."""
    for found in node.attribute:
        if found.name == name:
            value = onnx.helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default
