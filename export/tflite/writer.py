"""A small writer of ``.tflite`` files: a model in memory, and its bytes by the package ``flatbuffers``.

The file holds subgraphs of operators on numbered tensors, buffers with the constants, and signatures, which give inputs and
outputs names. The same model gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qdeploy.export.tflite.compact_builder import CompactBuilder
from qdeploy.export.tflite.numbering import ABSENT, Numbered, numbered
from qdeploy.export.tflite.schema import ELEMENT_TYPES, IDENTIFIER, OPERATORS, SCHEMA_VERSION

__all__ = ["ModelWriter", "Operator", "Subgraph", "Value"]

Array = NDArray[Any]
Shape: TypeAlias = "tuple[int | None, ...]"
"""None for a size that a runtime learns when inputs are resized."""

Scale: TypeAlias = "float | Sequence[float]"
"""One real step of a tensor's integers, or one for every entry of an axis."""


@dataclass(frozen=True)
class Value:
    """A tensor of a subgraph: its number, type and shape."""

    index: int
    dtype: np.dtype[Any]
    shape: Shape


@dataclass
class _Tensor:
    name: str
    dtype: np.dtype[Any]
    shape: Shape
    buffer: int
    scale: Scale | None = None
    zero_point: int = 0
    scaled_axis: int = 0
    variable: bool = False


_UNUSED = _Tensor("", np.dtype(np.int32), (1,), 0)
"""Stands for a number that only other subgraphs use; no runtime gives it memory."""


@dataclass
class Operator:
    """An operator on tensors of its subgraph, by their indices; ``ABSENT`` stands for an input that it lacks.

    ``intermediates`` have scales alone: of what the operator computes inside.
    """

    kind: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, int]
    intermediates: list[int] = field(default_factory=list)


@dataclass
class Subgraph:
    """One subgraph in the making; the model's writer makes it.

    Attributes:
        reshaped: by the index of a tensor that is another in a new shape, that other.
        transposed: by the index of a tensor that is another with its axes in a new order, that other and the order.
        digits: by the index of an int32 tensor, the int8 digits that it was joined of.
        joined: by the indices of digits, the tensor that they are those of.
        roles: by the index of a tensor that subgraphs compute in different ways, what it is, and the tensor that it is that of.
    """

    name: str
    model: ModelWriter
    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    reshaped: dict[int, Value] = field(default_factory=dict)
    transposed: dict[int, tuple[Value, Sequence[int]]] = field(default_factory=dict)
    digits: dict[int, list[Value]] = field(default_factory=dict)
    joined: dict[tuple[int, ...], Value] = field(default_factory=dict)
    roles: dict[int, tuple[str, Value]] = field(default_factory=dict)
    _constants: dict[Any, Value] = field(default_factory=dict)
    _results: dict[Any, Value] = field(default_factory=dict)

    def tensor(
        self,
        name: str,
        dtype: Any,
        shape: Shape,
        *,
        scale: Scale | None = None,
        zero_point: int = 0,
        scaled_axis: int = 0,
        buffer: int = 0,
        variable: bool = False,
    ) -> Value:
        """A new tensor.

        Args:
            name, dtype, shape: the tensor's.
            scale, zero_point: its quantization parameters, which runtimes tell whoever asks, and which quantized operators
                take their multipliers from.
            scaled_axis: to whose entries the scales belong, where there are several.
            buffer: with the values of a constant.
            variable: whether an operator that reads it may change it, as those with a state of their own do.
        """
        kind = np.dtype(dtype)
        self.tensors.append(_Tensor(name, kind, shape, buffer, scale, zero_point, scaled_axis, variable))
        return Value(len(self.tensors) - 1, kind, shape)

    def input(self, name: str, dtype: Any, shape: Shape, *, scale: float | None = None, zero_point: int = 0) -> Value:
        """A new tensor that the caller gives."""
        value = self.tensor(name, dtype, shape, scale=scale, zero_point=zero_point)
        self.inputs.append(value.index)
        return value

    def output(self, value: Value) -> None:
        """Gives a tensor back to the caller."""
        self.outputs.append(value.index)

    def constant(
        self,
        values: Any,
        dtype: Any = np.int32,
        name: str = "",
        *,
        scale: Scale | None = None,
        zero_point: int = 0,
        scaled_axis: int = 0,
    ) -> Value:
        """A tensor with these values; the same values are one buffer of the file and, under one name, one tensor.

        With a scale it is a tensor of its own: the same integers may mean other numbers elsewhere.
        """
        array = np.ascontiguousarray(np.asarray(values, dtype))
        buffer = self.model.buffer(array)
        if scale is not None:
            return self.tensor(
                name,
                array.dtype,
                array.shape,
                scale=scale,
                zero_point=zero_point,
                scaled_axis=scaled_axis,
                buffer=buffer,
            )
        key = (buffer, array.dtype.name, array.shape, name)
        if key not in self._constants:
            self._constants[key] = self.tensor(name, array.dtype, array.shape, buffer=buffer)
        return self._constants[key]

    def scalar(self, number: int) -> Value:
        """An int32 number as a tensor without axes, one of its kind in the subgraph."""
        buffer = self.model.buffer(np.array(number, np.int32))
        key = (buffer, "int32", (), "")
        if key not in self._constants:
            self._constants[key] = self.tensor("", np.int32, (), buffer=buffer)
        return self._constants[key]

    def add(
        self, kind: str, inputs: Sequence[Value], dtype: Any, shape: Shape, name: str = "", **options: int
    ) -> Value:
        """An operator with one output; what the subgraph has already is not computed again.

        Args:
            kind: a name of ``schema.OPERATORS``.
            inputs: its inputs.
            dtype, shape: of its output.
            name: of its output.
            options: of its option table.
        """
        key = (kind, tuple(value.index for value in inputs), np.dtype(dtype).name, shape, name, tuple(options.items()))
        if key not in self._results:
            self._results[key] = self.tensor(name, dtype, shape)
            self.add_several(kind, inputs, [self._results[key]], **options)
        return self._results[key]

    def add_several(self, kind: str, inputs: Sequence[Value], outputs: Sequence[Value], **options: int) -> None:
        """An operator with any outputs, which are tensors of this subgraph."""
        self.append(kind, inputs, outputs, options)

    def append(
        self,
        kind: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        options: Mapping[str, int],
        intermediates: Sequence[Value] = (),
    ) -> None:
        """An operator as :meth:`add_several` writes it, with None for an input that it lacks.

        Args:
            kind, inputs, outputs, options: the operator's.
            intermediates: tensors whose scales are those of what it computes inside.
        """
        read = [ABSENT if value is None else value.index for value in inputs]
        inside = [value.index for value in intermediates]
        self.operators.append(Operator(kind, read, [v.index for v in outputs], dict(options), inside))


@dataclass
class _Signature:
    key: str
    subgraph: int
    inputs: Mapping[str, Value]
    outputs: Mapping[str, Value]


class ModelWriter:
    """A whole model in the making.

    Args:
        description: what stands in the file's field of that name.
    """

    def __init__(self, description: str) -> None:
        self.description = description
        self.subgraphs: list[Subgraph] = []
        self._buffers: list[bytes] = [b""]
        self._known: dict[bytes, int] = {}
        self._signatures: list[_Signature] = []
        self._metadata: list[tuple[str, int]] = []

    def subgraph(self, name: str) -> tuple[int, Subgraph]:
        """A new subgraph and its number; the first is the main one."""
        self.subgraphs.append(Subgraph(name, self))
        return len(self.subgraphs) - 1, self.subgraphs[-1]

    def signature(self, key: str, subgraph: int, inputs: Mapping[str, Value], outputs: Mapping[str, Value]) -> None:
        """Names for a subgraph's inputs and outputs."""
        self._signatures.append(_Signature(key, subgraph, inputs, outputs))

    def metadata(self, name: str, content: bytes) -> None:
        """A named buffer that runtimes do not read."""
        self._buffers.append(content)
        self._metadata.append((name, len(self._buffers) - 1))

    def buffer(self, array: Array) -> int:
        """The number of the buffer with an array's bytes."""
        data = array.tobytes()
        if data not in self._known:
            self._buffers.append(data)
            self._known[data] = len(self._buffers) - 1
        return self._known[data]

    def to_bytes(self) -> bytes:
        """The file."""
        builder = CompactBuilder()
        buffers = [_buffer(builder, data) for data in self._buffers]
        layouts = numbered(self.subgraphs)
        kinds = sorted({operator.kind for layout in layouts for operator in layout.operators})
        codes = [_operator_code(builder, kind) for kind in kinds]
        pairs = zip(self.subgraphs, layouts, strict=True)
        graphs = [_subgraph(builder, graph, layout, kinds) for graph, layout in pairs]
        signatures = [_signature(builder, signature, layouts[signature.subgraph]) for signature in self._signatures]
        metadata = [
            builder.table([(0, "offset", builder.text(name)), (1, "uint32", number)], slots=2)
            for name, number in self._metadata
        ]
        fields = [
            (0, "uint32", SCHEMA_VERSION),
            (1, "offset", builder.offsets(codes)),
            (2, "offset", builder.offsets(graphs)),
            (3, "offset", builder.text(self.description)),
            (4, "offset", builder.offsets(buffers)),
            (6, "offset", builder.offsets(metadata)),
            (7, "offset", builder.offsets(signatures)),
        ]
        return builder.finish(builder.table(fields, slots=8), IDENTIFIER)


def _buffer(builder: CompactBuilder, data: bytes) -> int:
    return builder.table([(0, "offset", builder.content(data))] if data else [], slots=3)


def _operator_code(builder: CompactBuilder, kind: str) -> int:
    schema = OPERATORS[kind]
    # Old runtimes read the byte, new ones the larger of both.
    fields = [(0, "int8", min(schema.code, 127)), (2, "int32", schema.version), (3, "int32", schema.code)]
    return builder.table(fields, slots=4)


def _subgraph(builder: CompactBuilder, graph: Subgraph, layout: Numbered, kinds: Sequence[str]) -> int:
    tensors = [_tensor(builder, _UNUSED if index is None else graph.tensors[index]) for index in layout.tensors]
    operators = [_operator(builder, operator, layout, kinds) for operator in layout.operators]
    fields = [
        (0, "offset", builder.offsets(tensors)),
        (1, "offset", builder.numbers(layout.all(graph.inputs))),
        (2, "offset", builder.numbers(layout.all(graph.outputs))),
        (3, "offset", builder.offsets(operators)),
        (4, "offset", builder.text(graph.name)),
    ]
    return builder.table(fields, slots=5)


def _tensor(builder: CompactBuilder, tensor: _Tensor) -> int:
    fields = [
        (0, "offset", builder.numbers([1 if size is None else size for size in tensor.shape])),
        (1, "int8", ELEMENT_TYPES[tensor.dtype.name]),
        (2, "uint32", tensor.buffer),
    ]
    if tensor.name:
        fields.append((3, "offset", builder.text(tensor.name)))
    if tensor.scale is not None:
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        scale = builder.numbers(scales, np.float32)
        zero_point = builder.numbers(np.full(len(scales), tensor.zero_point), np.int64)
        steps = [(2, "offset", scale), (3, "offset", zero_point), (6, "int32", tensor.scaled_axis)]
        fields.append((4, "offset", builder.table(steps, slots=7)))
    if tensor.variable:
        fields.append((5, "bool", 1))
    if None in tensor.shape:
        fields.append((7, "offset", builder.numbers([-1 if size is None else size for size in tensor.shape])))
    fields.append((8, "bool", 1))
    return builder.table(fields, slots=9)


def _operator(builder: CompactBuilder, operator: Operator, layout: Numbered, kinds: Sequence[str]) -> int:
    schema = OPERATORS[operator.kind]
    fields = [
        (0, "uint32", kinds.index(operator.kind)),
        (1, "offset", builder.numbers(layout.all(operator.inputs))),
        (2, "offset", builder.numbers(layout.all(operator.outputs))),
    ]
    if schema.options:
        values = [(slot, kind, int(operator.options.get(name, 0))) for name, slot, kind in schema.fields]
        options = builder.table(values, slots=max((slot for _, slot, _ in schema.fields), default=-1) + 1)
        fields += [(3, "uint8", schema.options), (4, "offset", options)]
    if operator.intermediates:
        fields.append((8, "offset", builder.numbers(layout.all(operator.intermediates))))
    return builder.table(fields, slots=9)


def _signature(builder: CompactBuilder, signature: _Signature, layout: Numbered) -> int:
    def names(values: Mapping[str, Value]) -> int:
        pairs = [
            builder.table([(0, "offset", builder.text(name)), (1, "uint32", layout.numbers[value.index])], slots=2)
            for name, value in values.items()
        ]
        return builder.offsets(pairs)

    fields = [
        (0, "offset", names(signature.inputs)),
        (1, "offset", names(signature.outputs)),
        (2, "offset", builder.text(signature.key)),
        (4, "uint32", signature.subgraph),
    ]
    return builder.table(fields, slots=5)
