"""Images with their channels last: a pass over the graph, before C is written.

ONNX has images as ``[B, C, *S]``. What one position of a convolution reads lies together when the channels come last, so
images are ``[B, *S, C]`` inside; operators on single values keep either order. Graph inputs and outputs stay as they are:
layers ``Transpose`` stand at the borders. A Linear that reads a flattened image gets its columns in the image's order instead,
but where its weight is a Hamilton matrix: there the parts of quaternions come first, so that the four components stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from qdeploy.export.sample_graph import Graph, Layer, Tensor
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.hamilton_product import components_of
from qdeploy.runtime.numeric import IntArray

__all__ = ["channels_last"]

_IMAGES = {"Conv", "QLinearConv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Pad"}
"""Operators on images: C code exists for channels that are last."""

_CHANNELS = {"PRelu", "ChannelAffine", "QuaternionAffine"}
"""The same where the channels have axes behind them."""

_SINGLE_VALUES = {"Add", "Mul", "Relu", "Clip", "Table", "Requantize"}
"""Any order serves, as long as it is one."""

_MOVING = {"Concat", "Gather", "Slice", "Split"}
"""Their axes are counted anew."""

_LEAST_RANK = 3
_PARTS = 4


def channels_last(graph: Graph) -> Graph:
    """The same graph, images with their channels last inside.

    Raises:
        UnsupportedModelError: an axis of an image counts the steps of a sequence.
    """
    if not any(_is_image_layer(layer, graph.tensors) for layer in graph.layers):
        return graph
    return _Pass(graph).run()


def _is_image_layer(layer: Layer, tensors: Mapping[str, Tensor]) -> bool:
    if layer.operator in _IMAGES:
        return True
    x = tensors.get(layer.inputs.get("x", ""))
    return layer.operator in _CHANNELS and x is not None and len(x.shape) >= _LEAST_RANK and _trailing(layer, x) > 0


def _trailing(layer: Layer, x: Tensor) -> int:
    """Axes behind the channels; those of PRelu are the second axis."""
    return int(layer.attributes.get("trailing", len(x.shape) - 2))


@dataclass
class _Pass:
    graph: Graph
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(init=False)
    constants: dict[str, IntArray] = field(init=False)
    aliases: dict[str, str] = field(init=False)
    last: dict[str, str] = field(default_factory=dict)
    """By tensor that has a version with its channels last: that version."""
    missing: set[str] = field(default_factory=set)
    """Tensors that exist only so."""

    def __post_init__(self) -> None:
        self.tensors = dict(self.graph.tensors)
        self.constants = dict(self.graph.constants)
        self.aliases = dict(self.graph.aliases)

    def run(self) -> Graph:
        for layer in self.graph.layers:
            if _is_image_layer(layer, self.tensors):
                self._turned(layer)
            elif self._follows(layer):
                self._turned(self._counted_anew(layer))
            elif layer.operator == "Linear":
                self.layers.append(self._with_columns(layer))
            else:
                self._kept(layer)
        for name in self.graph.outputs:
            self._as_first(name)
        return replace(
            self.graph,
            layers=tuple(self.layers),
            tensors=self.tensors,
            constants=self.constants,
            aliases=self.aliases,
        )

    def _kept(self, layer: Layer) -> None:
        for name in layer.inputs.values():
            self._as_first(name)
        self.layers.append(layer)

    def _turned(self, layer: Layer) -> None:
        """A layer whose images all have their channels last."""
        x = next(self.tensors[n] for n in layer.inputs.values() if n in self.tensors and n not in self.constants)
        if x.time_axis not in (None, 0):
            raise UnsupportedModelError(
                f"node {layer.name} ({layer.operator}): axis {x.time_axis} of {x.name} counts the steps of a sequence; C has "
                "images whose axes are none. Export without the format c."
            )
        rank = len(x.shape)
        inputs = {
            argument: self._as_last(name, rank, layer) if self._is_data(layer, argument) else name
            for argument, name in layer.inputs.items()
        }
        outputs = {argument: self._made_last(name) for argument, name in layer.outputs.items()}
        self.layers.append(replace(layer, inputs=inputs, outputs=outputs))

    @staticmethod
    def _is_data(layer: Layer, argument: str) -> bool:
        if layer.operator == "Concat":
            return True
        if layer.operator in _MOVING:
            return argument == "x0"
        return argument in ("x", "a", "b")

    def _made_last(self, name: str) -> str:
        version = f"{name}.channels_last"
        self.tensors[version] = _turned_tensor(self.tensors[name], version)
        self.last[name] = version
        self.missing.add(name)
        return version

    def _as_last(self, name: str, rank: int, layer: Layer) -> str:
        """The version of an input that has its channels last, made where there is none."""
        if name in self.constants:
            values = self.constants[name]
            if values.size == 1 or values.ndim == 0:
                return name
            full = values.reshape((1,) * (rank - values.ndim) + values.shape)
            version = f"{name}.channels_last"
            self.constants[version] = np.ascontiguousarray(np.moveaxis(full, 1, -1))
            return version
        if name in self.last:
            return self.last[name]
        root = self._identity_root(name)
        if root in self.last:
            return self.last[root]
        self._as_first(name)
        tensor = self.tensors[name]
        version = f"{name}.channels_last"
        self.tensors[version] = _turned_tensor(tensor, version)
        self.last[name] = version
        if _same_order(tensor):
            self.aliases[version] = name
        else:
            order = [0, *range(2, rank), 1]
            self.layers.append(
                Layer(f"{layer.name}.channels_last", "Transpose", {"x0": name}, {"y0": version}, {"perm": order})
            )
        return version

    def _as_first(self, name: str) -> None:
        """Sees to it that a tensor stands in memory as the graph has it."""
        root = self._root(name)
        if root not in self.missing:
            return
        self.missing.discard(root)
        version, tensor = self.last[root], self.tensors[root]
        if _same_order(tensor):
            self.aliases[root] = version
            return
        order = [0, len(tensor.shape) - 1, *range(1, len(tensor.shape) - 1)]
        self.layers.append(Layer(f"{root}.channels_first", "Transpose", {"x0": version}, {"y0": root}, {"perm": order}))

    def _follows(self, layer: Layer) -> bool:
        """Whether a layer that could do either way reads an image with its channels last, and can go on so."""
        names = [n for a, n in layer.inputs.items() if self._is_data(layer, a) and n not in self.constants]
        if layer.operator not in _SINGLE_VALUES | _MOVING or not any(
            self._identity_root(n) in self.missing for n in names
        ):
            return False
        ranks = {len(self.tensors[name].shape) for name in (*names, *layer.outputs.values())}
        if len(ranks) != 1 or min(ranks) < _LEAST_RANK:
            return False
        if layer.operator == "Requantize":
            return bool(self.constants[layer.inputs["multiplier"]].size == 1)
        if layer.operator == "Gather":
            return self.constants[layer.inputs["x1"]].ndim == 1 if layer.inputs["x1"] in self.constants else False
        return True

    def _counted_anew(self, layer: Layer) -> Layer:
        """The layer with its axes counted behind the move of the channels."""
        if layer.operator not in _MOVING:
            return layer
        rank = len(self.tensors[layer.inputs["x0"]].shape)

        def moved(axis: int) -> int:
            at = axis % rank
            return at if at == 0 else rank - 1 if at == 1 else at - 1

        if layer.operator != "Slice":
            return replace(layer, attributes={**layer.attributes, "axis": moved(int(layer.attributes.get("axis", 0)))})
        axes = (
            self.constants[layer.inputs["x3"]].tolist()
            if layer.inputs.get("x3")
            else list(range(self.constants[layer.inputs["x1"]].size))
        )
        name = f"{layer.name}.axes"
        self.constants[name] = np.array([moved(axis) for axis in axes], np.int64)
        return replace(layer, inputs={**layer.inputs, "x3": name})

    def _with_columns(self, layer: Layer) -> Layer:
        """A Linear; where it reads a flattened image, with its columns in the image's order."""
        name = layer.inputs["x"]
        root = self._root(name)
        weight = self.constants.get(layer.inputs["weight"])
        if root not in self.missing or weight is None or _same_order(self.tensors[root]):
            self._as_first(name)
            return layer
        image = self.tensors[root]
        if weight.shape[1] != math.prod(image.shape[1:]):
            self._as_first(name)
            return layer
        channels = image.shape[1]
        # Column number of every entry of [C, *S], in the order of [*S, C].
        columns: IntArray = np.arange(weight.shape[1]).reshape(channels, -1).T
        version = self.last[root]
        hamilton = components_of(weight)
        if hamilton is not None and hamilton[1] == "blocked" and channels % _PARTS == 0:
            columns = columns.reshape(-1, _PARTS, channels // _PARTS).transpose(1, 0, 2)
            version = self._by_parts(layer, image, version)
        flat = f"{name}.{layer.name}"
        self.tensors[flat] = replace(self.tensors[name], name=flat)
        self.aliases[flat] = version
        matrix = f"{layer.name}.weight.channels_last"
        self.constants[matrix] = np.ascontiguousarray(weight[:, columns.reshape(-1)])
        return replace(layer, inputs={**layer.inputs, "x": flat, "weight": matrix})

    def _by_parts(self, layer: Layer, image: Tensor, version: str) -> str:
        """[B, *S, 4 C] as [B, 4, *S, C]."""
        places, channels = math.prod(image.shape[2:]), image.shape[1] // _PARTS
        split, result = f"{version}.split", f"{version}.parts"
        if result not in self.tensors:
            shape = (image.shape[0], places, _PARTS, channels)
            self.tensors[split] = Tensor(split, image.dtype, shape, image.time_axis)
            self.aliases[split] = version
            self.tensors[result] = Tensor(result, image.dtype, (shape[0], _PARTS, places, channels), image.time_axis)
            self.layers.append(
                Layer(f"{layer.name}.parts", "Transpose", {"x0": split}, {"y0": result}, {"perm": [0, 2, 1, 3]})
            )
        return result

    def _root(self, name: str) -> str:
        """The tensor whose memory it has, as far as the graph itself says."""
        while name in self.graph.aliases:
            name = self.graph.aliases[name]
        return name

    def _identity_root(self, name: str) -> str:
        """The root where it has the same shape."""
        root = self._root(name)
        if root in self.tensors and name in self.tensors and self.tensors[root].shape == self.tensors[name].shape:
            return root
        return name


def _turned_tensor(tensor: Tensor, name: str) -> Tensor:
    batch, channels, *places = tensor.shape
    return Tensor(name, tensor.dtype, (batch, *places, channels), tensor.time_axis)


def _same_order(tensor: Tensor) -> bool:
    """Whether both orders are one in memory."""
    return tensor.shape[1] == 1 or math.prod(tensor.shape[2:]) == 1
