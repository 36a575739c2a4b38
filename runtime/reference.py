"""The reference: runs an integer model by the meaning of its operators, in NumPy.

It reads the layer-sized nodes of the domain ``qdeploy`` and never looks into their bodies; the standard operators
between them only move data. It is strict: what a contract forbids is an error with the node's name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from qdeploy.runtime.errors import ContractError, InvalidFileError, InvalidInputError
from qdeploy.runtime.model_file import load_model
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops import DOMAIN, OPERATORS, Node, operator_name
from qdeploy.runtime.standard.cast import CASTS
from qdeploy.runtime.standard.layout import LAYOUT
from qdeploy.runtime.standard.node import Node as StandardNode

STANDARD = {**LAYOUT, **{name: CASTS[name] for name in ("QuantizeLinear", "DequantizeLinear")}}
"""Standard operators that may stand between layers: they move data, or are the borders of ``--float-io``."""


@dataclass(frozen=True)
class RunResult:
    """What one run gave.

    Attributes:
        outputs: the graph's outputs by name.
        tensors: every tensor of the graph when it was asked for, else empty.
        saturations: how many values of each node stand at a clipping bound.
    """

    outputs: dict[str, IntArray]
    tensors: dict[str, IntArray] = field(default_factory=dict)
    saturations: dict[str, int] = field(default_factory=dict)


Step = Callable[[dict[str, IntArray]], None]


class ReferenceModel:
    """An integer model, ready to run on NumPy arrays.

    Args:
        model: the model, or the path of its file.

    Raises:
        InvalidFileError: when a node is not an operator of this version, or misses an input.
    """

    def __init__(self, model: onnx.ModelProto | str | os.PathLike[str]) -> None:
        self.model = model if isinstance(model, onnx.ModelProto) else load_model(Path(model))
        graph = self.model.graph
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self._constants: dict[str, IntArray] = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        self._nodes: list[Node] = []
        self._steps = [self._compile(index, proto) for index, proto in enumerate(graph.node)]
        self._last_read = _last_reads(graph)

    def run(self, feeds: Mapping[str, IntArray], *, keep: bool = False) -> RunResult:
        """Runs the model.

        Args:
            feeds: an array for every graph input, of its integer type.
            keep: whether to return every intermediate tensor as well.

        Raises:
            InvalidInputError: when an input is missing or unknown.
            ContractError: when an operator meets what its contract forbids.
        """
        if set(feeds) != set(self.inputs):
            raise InvalidInputError(f"the model takes the inputs {self.inputs}; found {sorted(feeds)}.")
        values = dict(self._constants)
        values.update({name: np.asarray(array) for name, array in feeds.items()})
        for node in self._nodes:
            node.saturated = 0
        for step, done in zip(self._steps, self._last_read, strict=True):
            step(values)
            if not keep:
                # The activations of large images do not all fit memory at once.
                for name in done:
                    values.pop(name, None)
        tensors = {name: value for name, value in values.items() if name not in self._constants} if keep else {}
        return RunResult(
            outputs={name: values[name] for name in self.outputs},
            tensors=tensors,
            saturations={node.name: node.saturated for node in self._nodes if node.saturated},
        )

    def _compile(self, index: int, proto: onnx.NodeProto) -> Step:
        label = proto.name or f"{proto.op_type}_{index}"
        try:
            attributes = {a.name: plain_value(onnx.helper.get_attribute_value(a)) for a in proto.attribute}
        except (ValueError, TypeError) as error:
            raise InvalidFileError(f"node {label} ({proto.op_type}): an attribute cannot be read: {error}.") from error
        if proto.domain == DOMAIN:
            return self._compile_layer(label, proto, attributes)
        if proto.domain in ("", "ai.onnx") and proto.op_type in STANDARD:
            return self._compile_standard(label, proto, attributes)
        raise InvalidFileError(
            f"node {label}: operator {proto.domain or 'ai.onnx'}.{proto.op_type} is not one that qdeploy writes between "
            f"layers; expected {DOMAIN}.{{{', '.join(sorted(OPERATORS))}}} or {', '.join(sorted(STANDARD))}."
        )

    def _compile_layer(self, label: str, proto: onnx.NodeProto, attributes: dict[str, Any]) -> Step:
        operator = OPERATORS.get(operator_name(proto.op_type))
        if operator is None:
            raise InvalidFileError(
                f"node {label}: unknown operator {DOMAIN}.{proto.op_type}; this version has {', '.join(sorted(OPERATORS))}."
            )
        if not operator.takes(attributes):
            raise InvalidFileError(
                f"node {label} ({proto.op_type}) has the attributes {sorted(attributes)}; expected {sorted(operator.attributes)}."
            )
        names = list(proto.input) + [""] * (len(operator.inputs) - len(proto.input))
        for name, parameter in zip(names, operator.inputs, strict=False):
            if not name and parameter not in operator.optional:
                raise InvalidFileError(f"node {label} ({proto.op_type}) lacks its input {parameter}.")
        if len(names) > len(operator.inputs):
            raise InvalidFileError(
                f"node {label} ({proto.op_type}) has {len(names)} inputs; expected {operator.inputs}."
            )
        node = Node(label)
        self._nodes.append(node)
        outputs = list(proto.output)

        def step(values: dict[str, IntArray]) -> None:
            arguments = [_value(values, name, label) if name else None for name in names]
            try:
                results = operator.meaning(node, *arguments, **attributes)
            except (ValueError, IndexError, TypeError, OverflowError) as error:
                raise ContractError(f"node {label} ({proto.op_type}): {error}") from error
            values.update({name: array for name, array in zip(outputs, results, strict=False) if name})

        return step

    def _compile_standard(self, label: str, proto: onnx.NodeProto, attributes: dict[str, Any]) -> Step:
        names, outputs = list(proto.input), list(proto.output)
        description = StandardNode(
            operator=proto.op_type,
            label=label,
            opset=_opset(self.model),
            attributes=attributes,
            constants=tuple(self._constants.get(name) for name in names),
            present=tuple(bool(name) for name in names),
            outputs=len(outputs),
        )
        try:
            kernel = STANDARD[proto.op_type](description)
        except (ValueError, IndexError, TypeError, KeyError) as error:
            raise InvalidFileError(f"node {label} ({proto.op_type}): {error}.") from error

        def step(values: dict[str, IntArray]) -> None:
            arguments = [_value(values, name, label) if name else None for name in names]
            try:
                result = kernel(*arguments)
            except (ValueError, IndexError, TypeError) as error:
                raise ContractError(f"node {label} ({proto.op_type}): {error}") from error
            values.update(zip(outputs, result if isinstance(result, tuple) else (result,), strict=False))

        return step


def _last_reads(graph: onnx.GraphProto) -> list[list[str]]:
    """By node, the tensors that no later one reads and that are no outputs."""
    seen = {value.name for value in graph.output} | {tensor.name for tensor in graph.initializer}
    found: list[list[str]] = []
    for node in reversed(graph.node):
        found.append([name for name in {*node.input, *node.output} if name and name not in seen])
        seen.update(node.input)
    return found[::-1]


def _value(values: dict[str, IntArray], name: str, label: str) -> IntArray:
    if name not in values:
        raise InvalidFileError(f"node {label} reads {name!r}, which no earlier node, input or initializer gives.")
    return values[name]


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def plain_value(value: Any) -> Any:
    """Attribute values as plain Python: text for bytes, arrays for tensors."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value
