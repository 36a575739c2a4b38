"""Transposed convolutions become convolutions that compute all phases of the output side by side."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError

from ..functions import FLOAT_DOMAIN
from .access import (
    attribute_int,
    attribute_ints,
    constant,
    insert,
    label,
    new_initializer,
    only_consumer,
    replace,
)
from .conv import channel_vector

__all__ = ["convert_transposed_convolutions"]

_TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class _Axis:
    """One axis of a transposed convolution: output o gets W[k] x[i] where o + begin = stride i + dilation k.

    So o + begin = stride j + r, its phase r, reads x[j + t] for the offsets t = (r - dilation k) / stride that are whole:
    each phase is a convolution over x without strides.
    """

    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    output_padding: int

    def taps(self) -> list[tuple[int, int, int]]:
        """Phase, offset and place in the kernel of each weight."""
        return [
            (r, (r - self.dilation * k) // self.stride, k)
            for r in range(self.stride)
            for k in range(self.kernel)
            if (r - self.dilation * k) % self.stride == 0
        ]

    @property
    def offsets(self) -> tuple[int, int]:
        """The first and the last offset of any phase."""
        found = [offset for _, offset, _ in self.taps()]
        return min(found), max(found)

    @property
    def places(self) -> tuple[int, int]:
        """The first j of any output, and by how much the last one exceeds the last i; more where pads would be negative."""
        first, last = self.offsets
        reach = self.dilation * (self.kernel - 1) - self.end + self.output_padding
        return min(self.begin // self.stride, -first), max(reach // self.stride, -last)

    @property
    def pads(self) -> tuple[int, int]:
        """Of the convolution."""
        (first, last), (begin, excess) = self.offsets, self.places
        return -(begin + first), excess + last

    @property
    def crop(self) -> tuple[int, int]:
        """How many of the interleaved outputs to leave out at both ends."""
        begin, excess = self.places
        # The last output but one stands at stride (S - 1) + reach.
        reach = self.dilation * (self.kernel - 1) - self.end + self.output_padding
        return self.begin - self.stride * begin, self.stride * (excess + 1) - 1 - reach


def convert_transposed_convolutions(model: ir.Model) -> None:
    """Replaces ``ConvTranspose`` by a ``Conv`` of all phases, a rearrangement of its channels, and a Slice.

    With strides s, output s j + r of phase r is a sum over the taps k whose dilation k - r is a multiple of s: a
    convolution without strides. The channels of all phases (s for one axis, s s' for two) stand side by side, and Reshape,
    Transpose and Reshape bring them to their places. Every output is the sum that it was, exactly; kernels whose size is no
    multiple of the strides get zeros.

    A Relu, a Clip, constants for each channel and a ChannelAffine behind, which nothing else reads, go to the
    convolution.

    Requires: shapes are inferred. Ensures: no ``ConvTranspose``.

    Raises:
        UnsupportedModelError: a kernel or a bias that the network computes, more than one axis of free size.
        InvalidFileError: attributes that contradict each other.
    """
    for node in list(model.graph):
        if node.domain == "" and node.op_type == "ConvTranspose":
            _convert(node)


def _convert(node: ir.Node) -> None:
    graph, x = node.graph, node.inputs[0]
    kernel = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if not isinstance(graph, ir.Graph) or x is None:
        return
    if kernel is None or kernel.dtype != np.float32 or not 3 <= kernel.ndim <= 5:
        raise UnsupportedModelError(
            f"{label(node)}: expected a kernel that is a constant, over one to three axes; a kernel that the network "
            "computes has no scale"
        )
    if len(node.inputs) > 2 and node.inputs[2] is not None and bias is None:
        raise UnsupportedModelError(f"{label(node)}: its bias is no constant; train it as a parameter")
    group = attribute_int(node, "group", 1)
    if group < 1 or kernel.shape[0] % group:
        raise InvalidFileError(f"{label(node)}: {group} groups do not divide the {kernel.shape[0]} channels")
    sizes = _spatial(x, kernel.ndim - 2)
    axes = _axes(node, kernel.shape[2:], sizes)
    strides = [axis.stride for axis in axes]
    phases = math.prod(strides)
    outputs = kernel.shape[1] * group
    # torch calls the node conv_transpose2d, and its weight decoder.0.weight.
    source = node.inputs[1].name if node.inputs[1] is not None and node.inputs[1].is_initializer() else None
    name = source.removesuffix(".weight") if source is not None and source.endswith(".weight") else str(node.name)
    inputs = [x, new_initializer(graph, f"{name}.weight", _phases(kernel, group, axes))]
    if bias is not None:
        inputs.append(new_initializer(graph, f"{name}.bias", np.repeat(bias.astype(np.float32), phases)))
    ends = [axis.pads for axis in axes]
    conv = insert(
        node,
        "Conv",
        inputs,
        name=name,
        attributes={
            "strides": [1] * len(axes),
            "pads": [begin for begin, _ in ends] + [end for _, end in ends],
            "dilations": [1] * len(axes),
            "group": group,
        },
    ).outputs[0]
    lengths = [
        None if size is None else size + sum(axis.pads) - (axis.offsets[1] - axis.offsets[0])
        for size, axis in zip(sizes, axes, strict=True)
    ]
    batch = None if x.shape is None else x.shape[0]
    conv.type = x.type
    conv.shape = ir.Shape([batch, outputs * phases, *lengths])
    result, last = _behind(node, conv, outputs, phases)
    result = _interleaved(node, result, outputs, strides, lengths)
    result = _cropped(node, result, [axis.crop for axis in axes])
    replace(last.outputs[0], result)
    while last is not node:
        previous = last.inputs[0]
        graph.remove(last, safe=True)
        producer = None if previous is None else previous.producer()
        if producer is None:
            return
        last = producer
    graph.remove(node, safe=True)


def _spatial(x: ir.Value, rank: int) -> list[int | None]:
    sizes = [None] * (rank + 2) if x.shape is None or len(x.shape) != rank + 2 else list(x.shape)
    return [size if isinstance(size, int) else None for size in sizes[2:]]


def _axes(node: ir.Node, kernel: tuple[int, ...], sizes: list[int | None]) -> list[_Axis]:
    """The axes with pads as numbers, whatever the node gives: pads, auto_pad, or output_shape."""
    rank = len(kernel)
    strides = attribute_ints(node, "strides") or [1] * rank
    dilations = attribute_ints(node, "dilations") or [1] * rank
    output_padding = attribute_ints(node, "output_padding") or [0] * rank
    attribute = node.attributes.get("auto_pad")
    mode = "NOTSET" if attribute is None else attribute.as_string()
    wanted = attribute_ints(node, "output_shape")
    pads = attribute_ints(node, "pads") or [0] * (2 * rank)
    lists = (strides, dilations, output_padding)
    if any(len(one) != rank for one in lists) or len(pads) != 2 * rank or min(strides) < 1 or min(dilations) < 1:
        raise InvalidFileError(f"{label(node)}: its attributes do not fit a kernel over {rank} axes; export it again")
    if wanted is None and mode in {"SAME_UPPER", "SAME_LOWER"}:
        wanted = [0 if size is None else size * stride for size, stride in zip(sizes, strides, strict=True)]
    if wanted is not None:
        if any(size is None for size in sizes):
            raise UnsupportedModelError(
                f"{label(node)}: output_shape or auto_pad={mode} of an image whose size is free, expected pads; export the "
                "model with a fixed image size"
            )
        for axis, size in enumerate(sizes):
            whole = strides[axis] * ((size or 1) - 1) + output_padding[axis] + (kernel[axis] - 1) * dilations[axis] + 1
            total = max(0, whole - wanted[axis])
            small, large = total // 2, total - total // 2
            pads[axis], pads[rank + axis] = (small, large) if mode == "SAME_UPPER" else (large, small)
    if min(pads) < 0 or min(output_padding) < 0:
        raise UnsupportedModelError(f"{label(node)}: found negative pads, expected none below 0")
    return [_Axis(kernel[a], strides[a], dilations[a], pads[a], pads[rank + a], output_padding[a]) for a in range(rank)]


def _phases(kernel: NDArray[np.float32], group: int, axes: list[_Axis]) -> NDArray[np.float32]:
    """The convolution's kernel ``[N s s'..., C/G, *T]``, a channel's phases side by side, of ``[C, N/G, *K]``."""
    channels, outputs = kernel.shape[0] // group, kernel.shape[1]
    strides = [axis.stride for axis in axes]
    lengths = [axis.offsets[1] - axis.offsets[0] + 1 for axis in axes]
    made = np.zeros((group, outputs, math.prod(strides), channels, math.prod(lengths)), np.float32)
    parts = kernel.reshape(group, channels, outputs, -1)
    for taps in itertools.product(*(axis.taps() for axis in axes)):
        phase = np.ravel_multi_index([r for r, _, _ in taps], strides)
        places = [offset - axis.offsets[0] for axis, (_, offset, _) in zip(axes, taps, strict=True)]
        place = np.ravel_multi_index(places, lengths)
        tap = np.ravel_multi_index([k for _, _, k in taps], kernel.shape[2:])
        made[:, :, phase, :, place] = parts[..., tap].swapaxes(1, 2)
    return made.reshape(group * outputs * math.prod(strides), channels, *lengths)


def _behind(node: ir.Node, conv: ir.Value, outputs: int, phases: int) -> tuple[ir.Value, ir.Node]:
    """Repeats on ``conv`` what is done to the result of ``node``; the value, and the last node that is repeated."""
    graph, last, value = node.graph, node, conv
    shape = conv.shape
    rank = 0 if shape is None else len(shape) - 2
    while isinstance(graph, ir.Graph):
        reader = only_consumer(last.outputs[0])
        if reader is None or reader.inputs[0] is not last.outputs[0]:
            break
        inputs: list[ir.Value | None] = [value]
        plain = reader.domain == "" and reader.op_type in {"Relu", "Clip"}
        affine = reader.domain == FLOAT_DOMAIN and reader.op_type == "ChannelAffine"
        if plain:
            inputs += reader.inputs[1:]
        elif affine or (reader.domain == "" and reader.op_type == "Add"):
            for given in reader.inputs[1:]:
                array = constant(given)
                if array is None or given is None:
                    return value, last
                vector = array.reshape(-1) if affine else channel_vector(array, outputs, rank)
                if vector is None:
                    return value, last
                wide = np.repeat(vector, phases)
                shaped = wide if affine else wide.reshape(-1, *[1] * rank)
                inputs.append(new_initializer(graph, f"{given.name}.phases", shaped))
        else:
            break
        made = insert(node, reader.op_type, inputs, domain=reader.domain, overload=reader.overload, name=reader.name)
        for name, attribute in reader.attributes.items():
            made.attributes[name] = attribute
        made.outputs[0].type, made.outputs[0].shape = value.type, shape
        value, last = made.outputs[0], reader
    return value, last


def _interleaved(
    node: ir.Node, value: ir.Value, outputs: int, strides: list[int], lengths: list[int | None]
) -> ir.Value:
    """``[B, N s s', J, J']`` as ``[B, N, J s, J' s']``."""
    graph, rank = node.graph, len(strides)
    if math.prod(strides) == 1 or not isinstance(graph, ir.Graph):
        return value
    free = [axis for axis, length in enumerate(lengths) if length is None]
    if len(free) > 1:
        raise UnsupportedModelError(
            f"{label(node)}: strides {strides} over an image of {len(free)} axes of free size, expected one at most; export "
            "the model with a fixed image size"
        )
    known = [-1 if length is None else length for length in lengths]
    parts = [0, outputs, *strides, *known]
    order = [0, 1, *(place for axis in range(rank) for place in (2 + rank + axis, 2 + axis))]
    whole = [-1 if length is None else length * stride for length, stride in zip(lengths, strides, strict=True)]
    batch = None if value.shape is None else value.shape[0]
    split = insert(node, "Reshape", [value, _integers(graph, f"{node.name}.parts", parts)], name=f"{node.name}.split")
    turned = insert(node, "Transpose", split.outputs, name=f"{node.name}.turn", attributes={"perm": order})
    joined = insert(
        node,
        "Reshape",
        [turned.outputs[0], _integers(graph, f"{node.name}.whole", [0, outputs, *whole])],
        name=f"{node.name}.join",
    )
    sizes = [None if size == -1 else size for size in whole]
    for made, shape in (
        (split, [batch, outputs, *strides, *lengths]),
        (turned, [batch, outputs, *(one for axis in range(rank) for one in (lengths[axis], strides[axis]))]),
        (joined, [batch, outputs, *sizes]),
    ):
        made.outputs[0].type, made.outputs[0].shape = value.type, ir.Shape(shape)
    return joined.outputs[0]


def _cropped(node: ir.Node, value: ir.Value, crops: list[tuple[int, int]]) -> ir.Value:
    """Without what stands beyond the output's ends."""
    graph = node.graph
    axes = [axis for axis, crop in enumerate(crops) if any(crop)]
    if not axes or not isinstance(graph, ir.Graph):
        return value
    starts = [crops[axis][0] for axis in axes]
    ends = [-crops[axis][1] if crops[axis][1] else _TO_THE_END for axis in axes]
    parameters = [
        _integers(graph, f"{node.name}.{name}", values)
        for name, values in (("starts", starts), ("ends", ends), ("axes", [2 + axis for axis in axes]))
    ]
    sliced = insert(node, "Slice", [value, *parameters], name=f"{node.name}.crop").outputs[0]
    if value.shape is not None:
        batch, channels, *sizes = value.shape
        left = [size - sum(crop) if isinstance(size, int) else None for size, crop in zip(sizes, crops, strict=True)]
        sliced.shape = ir.Shape([batch, channels, *left])
    sliced.type = value.type
    return sliced


def _integers(graph: ir.Graph, name: str, values: list[int]) -> ir.Value:
    return new_initializer(graph, name, np.array(values, np.int64))
