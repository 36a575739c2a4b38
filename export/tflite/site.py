"""What an emitter gets: one layer of the graph, its inputs as tensors of the subgraph at hand, and a place for its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qdeploy.export.tflite.arithmetic import Code
from qdeploy.export.tflite.byte_tensor import ByteTensor
from qdeploy.runtime.errors import UnsupportedModelError

if TYPE_CHECKING:
    from qdeploy.export.sample_graph import Graph, Layer, Source, Tensor
    from qdeploy.export.tflite.writer import ModelWriter, Shape, Value
    from qdeploy.runtime.numeric import IntArray

__all__ = ["Site", "int32_of", "open_shape"]


def open_shape(tensor: Tensor, *, single_step: bool) -> Shape:
    """The shape with the number of steps left open, or of one step."""
    if single_step:
        return tensor.shape
    return tuple(None if axis == tensor.time_axis else size for axis, size in enumerate(tensor.shape))


def int32_of(code: Code, values: dict[str, Value], byte_tensors: Mapping[str, ByteTensor], root: str) -> Value:
    """The int32 tensor that holds what has this root, made of the int8 one where there is none yet."""
    if root not in values:
        values[root] = byte_tensors[root].to_int32(code)
    return values[root]


@dataclass
class Site:
    """One layer of the graph.

    Between layers every tensor is int32, whatever its type in the graph: element-wise operators of LiteRT are whole for
    int32 only. A product casts to int8 what it multiplies. Between quantized operators of LiteRT itself tensors are int8
    (``byte_tensor.py``); whoever asks for the other form gets it, made once.

    Attributes:
        values: by the root of a tensor's name, the int32 tensor that holds it.
        byte_tensors: by the same, the int8 tensor that holds it; a tensor has either or both.
        single_step: whether the subgraph takes one step of a sequence, not any number.
    """

    layer: Layer
    graph: Graph
    model: ModelWriter
    code: Code
    values: dict[str, Value]
    single_step: bool = False
    byte_tensors: dict[str, ByteTensor] = field(default_factory=dict)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The node's attributes by name."""
        return self.layer.attributes

    def has(self, argument: str) -> bool:
        """Whether an optional input is given, or an output has a name."""
        return bool(self.layer.inputs.get(argument) or self.layer.outputs.get(argument))

    def tensor(self, argument: str) -> Tensor:
        """Type and shape, in the graph, of an input or output that is no constant."""
        name = self.layer.inputs.get(argument) or self.layer.outputs[argument]
        found = self.graph.tensors.get(name)
        if found is None:
            raise UnsupportedModelError(
                f"node {self.layer.name} ({self.layer.operator}): the size of {name} depends on the number of steps in a way "
                "that has no form for LiteRT; expected an axis of one entry a step."
            )
        return found

    def kind(self, argument: str) -> np.dtype[Any]:
        """The type, in the graph, of an input, a constant too."""
        name = self.layer.inputs[argument]
        return self.graph.constants[name].dtype if name in self.graph.constants else self.tensor(argument).dtype

    def shape(self, argument: str) -> Shape:
        """Of an input or output that is no constant."""
        return open_shape(self.tensor(argument), single_step=self.single_step)

    def rows(self, argument: str) -> Value:
        """An input as a matrix ``[R, K]``: its last axis, and all others as one."""
        return self.code.reshape(self.input(argument), self.row_shape(argument))

    def row_shape(self, argument: str) -> Shape:
        """Of an input as a matrix."""
        tensor = self.tensor(argument)
        last = len(tensor.shape) - 1
        if tensor.time_axis == last:
            raise UnsupportedModelError(
                f"node {self.layer.name} ({self.layer.operator}): the last axis of {tensor.name} counts the steps; LiteRT needs "
                "them on an earlier axis."
            )
        timed = tensor.time_axis is not None and not self.single_step
        return (None if timed else tensor.entries // tensor.shape[-1], tensor.shape[-1])

    def state(self, argument: str) -> Value:
        """An initial state as int32 ``[1, H]``."""
        value = self.input(argument)
        return self.code.reshape(value, (1, value.shape[-1]))

    def input(self, argument: str) -> Value:
        """An input as int32, in the graph's shape."""
        name = self.layer.inputs[argument]
        if name in self.graph.constants:
            return self.code.subgraph.constant(self.graph.constants[name], np.int32)
        return self.code.reshape(
            int32_of(self.code, self.values, self.byte_tensors, self.graph.root(name)), self.shape(argument)
        )

    def bytes(self, argument: str, zero_point: int) -> ByteTensor:
        """An input of type uint8 as int8; its shape is that of the tensor which holds it, not this layer's."""
        root = self.graph.root(self.layer.inputs[argument])
        held = self.byte_tensors.get(root)
        if held is None or held.zero_point != zero_point:
            held = ByteTensor.of_int32(self.code, self.input(argument), zero_point)
            self.byte_tensors[root] = held
        return held

    def held_bytes(self, argument: str) -> ByteTensor | None:
        """The int8 tensor that holds an input already, None where there is none."""
        return self.byte_tensors.get(self.graph.root(self.layer.inputs[argument]))

    def images(self, *arguments: str) -> list[ByteTensor] | None:
        """The int8 tensors of these inputs where all of them are images ``[1, *S, C]`` of one shape; else None."""
        held = [self.held_bytes(argument) for argument in arguments]
        found = [image for image in held if image is not None and image.last]
        shapes = {(1, *self.tensor(argument).shape[2:], self.tensor(argument).shape[1]) for argument in arguments}
        same = len(found) == len(arguments) and {image.value.shape for image in found} == shapes and len(shapes) == 1
        return found if same else None

    def set_bytes(self, result: str, value: ByteTensor) -> None:
        """The int8 tensor that an output is."""
        name = self.layer.outputs.get(result)
        if name:
            self.byte_tensors[self.graph.root(name)] = value

    def map(self, argument: str, result: str, function: Callable[[Value], Value]) -> None:
        """An output that is a function of each entry of an input."""
        self.set(result, function(self.input(argument)))

    def largest(self, argument: str, zero_point: int) -> int:
        """The largest absolute value that an input less its zero point can have, by its type in the graph."""
        name = self.layer.inputs[argument]
        if name in self.graph.constants:
            return int(np.abs(self.graph.constants[name].astype(np.int64) - zero_point).max())
        bounds = np.iinfo(self.tensor(argument).dtype)
        return max(abs(int(bounds.min) - zero_point), abs(int(bounds.max) - zero_point))

    def set(self, result: str, value: Value) -> None:
        """The int32 tensor that an output is."""
        name = self.layer.outputs.get(result)
        if name:
            self.values[self.graph.root(name)] = self.code.reshape(value, self.shape(result))

    def constant(self, argument: str) -> IntArray:
        """The value of an input that is known.

        Raises:
            UnsupportedModelError: it is computed at run time.
        """
        return self.graph.constant(self.layer, argument, "LiteRT", "tflite")

    def source(self, argument: str) -> Source | None:
        """How the ONNX file holds this constant, None where it stands there in full."""
        return self.graph.sources.get(self.layer.inputs[argument])
