"""From ONNX nodes to frames: functions are inlined, constants folded, loop-invariant steps moved out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.standard.cast import element_dtype
from qdeploy.runtime.standard.frame import ABSENT, Frame, Step, execute
from qdeploy.runtime.standard.node import Array, Node, Tracer
from qdeploy.runtime.standard.registry import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Compiler", "declared_dtype", "last_reads"]

#: Deeper calls than this mean functions that call themselves.
_DEEPEST_CALL = 32
#: A folded constant larger than this (bytes) is computed anew at each run rather than kept.
_LARGEST_CONSTANT = 1 << 28

_FunctionKey = tuple[str, str, str]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _overload(proto: Any) -> str:
    # The field exists from onnx 1.16 (IR 10) on.
    return str(getattr(proto, "overload", ""))


def declared_dtype(value: onnx.ValueInfoProto) -> np.dtype[Any] | None:
    """The element type that a graph declares for an input or output, None where it declares none."""
    element_type = value.type.tensor_type.elem_type
    return element_dtype(element_type) if element_type else None


def last_reads(compiled: Compiler) -> list[set[int]]:
    """By step of the outermost frame, the registers whose value no later step reads."""
    constants = {register for register, value in enumerate(compiled.template) if value is not None}
    seen = {ABSENT, *constants}
    found: list[set[int]] = []
    for _, read, written, _ in reversed(compiled.steps):
        registers = {*read, *([written] if isinstance(written, int) else written)}
        found.append(registers - seen)
        seen |= registers
    return found[::-1]


class _Registers:
    """One frame under construction: its registers and its steps."""

    def __init__(self, parent: _Registers | None = None, parent_scope: _Scope | None = None) -> None:
        self.values: list[Array | None] = [None]
        self.constant: list[bool] = [True]
        self.invariant: list[bool] = [True]
        self.prologue: list[Step] = []
        self.steps: list[Step] = []
        self.parent = parent
        self.parent_scope = parent_scope
        self.captured: dict[int, int] = {}

    def new(self, value: Array | None = None, *, invariant: bool = False) -> int:
        self.values.append(value)
        self.constant.append(value is not None)
        self.invariant.append(invariant or value is not None)
        return len(self.values) - 1

    def capture(self, outer: int) -> int:
        """The register that holds the parent's register ``outer``; a constant is copied and folds on."""
        if outer == ABSENT or self.parent is None:
            return ABSENT
        if outer not in self.captured:
            value = self.parent.values[outer] if self.parent.constant[outer] else None
            self.captured[outer] = self.new(value, invariant=True)
        return self.captured[outer]


class _Scope:
    """Names visible at one place: a function's own, or a subgraph's with those of the graphs around it."""

    def __init__(self, registers: _Registers, prefix: str, attributes: Mapping[str, onnx.AttributeProto]) -> None:
        self.registers = registers
        self.names: dict[str, int] = {"": ABSENT}
        self.prefix = prefix
        self.attributes = attributes

    def find(self, name: str) -> int:
        register = self.names.get(name)
        if register is not None:
            return register
        outer = self.registers.parent_scope
        if outer is None or (self.registers.parent is None):
            msg = f"{self.prefix or 'graph'}: the name {name!r} is used before anything gives it a value"
            raise UnsupportedModelError(msg)
        register = self.registers.capture(outer.find(name))
        self.names[name] = register
        return register


class Compiler:
    """Compiles the graph of ``model``; ``registers`` and ``names`` describe the outermost frame afterwards."""

    def __init__(self, model: onnx.ModelProto, tracer: Tracer) -> None:
        self._functions: dict[_FunctionKey, onnx.FunctionProto] = {
            (_domain(f.domain), f.name, _overload(f)): f for f in model.functions
        }
        self._tracer = tracer
        opsets = {_domain(o.domain): o.version for o in model.opset_import}
        self._root = _Registers()
        scope = _Scope(self._root, "", {})
        self.initializers = self._add_initializers(model.graph, scope)
        self.inputs: dict[str, int] = {}
        for value in model.graph.input:
            if value.name not in self.initializers:
                self.inputs[value.name] = scope.names[value.name] = self._root.new()
        self._compile_nodes(model.graph.node, scope, opsets, 0)
        self.names = scope.names
        self.outputs = {value.name: scope.find(value.name) for value in model.graph.output}
        # The outermost frame runs once: what would be its prologue is simply a step.
        self.steps = self._root.prologue + self._root.steps
        self.template = self._root.values

    @staticmethod
    def _add_initializers(graph: onnx.GraphProto, scope: _Scope) -> set[str]:
        if graph.sparse_initializer:
            msg = f"{scope.prefix or 'graph'}: sparse initializers are not supported; export again with dense ones"
            raise UnsupportedModelError(msg)
        for tensor in graph.initializer:
            scope.names[tensor.name] = scope.registers.new(_tensor(tensor, f"initializer {tensor.name!r}"))
        return {tensor.name for tensor in graph.initializer}

    def _compile_nodes(
        self, nodes: Iterable[onnx.NodeProto], scope: _Scope, opsets: Mapping[str, int], depth: int
    ) -> None:
        for position, proto in enumerate(nodes):
            label = scope.prefix + (proto.name or f"{proto.op_type}_{position}")
            function = self._functions.get((_domain(proto.domain), proto.op_type, _overload(proto)))
            if function is not None:
                self._inline(proto, function, scope, label, depth)
            elif _domain(proto.domain) == "":
                self._compile_node(proto, scope, opsets, label, depth)
            else:
                have = sorted({f"{d or 'ai.onnx'}::{n}{':' + o if o else ''}" for d, n, o in self._functions})
                msg = (
                    f"node {label}: the file holds no function {proto.domain}::{proto.op_type}"
                    f"{' with overload ' + repr(_overload(proto)) if _overload(proto) else ''}; "
                    f"it holds {', '.join(have) or 'none'}; export the model again"
                )
                raise UnsupportedModelError(msg)

    def _inline(
        self, call: onnx.NodeProto, function: onnx.FunctionProto, scope: _Scope, label: str, depth: int
    ) -> None:
        """A function sees its inputs and attributes only; formal inputs that the call leaves out are absent."""
        if depth >= _DEEPEST_CALL:
            msg = f"node {label}: calls nested deeper than {_DEEPEST_CALL}; functions must not call themselves"
            raise UnsupportedModelError(msg)
        if len(call.input) > len(function.input) or len(call.output) > len(function.output):
            msg = (
                f"node {label}: found {len(call.input)} inputs and {len(call.output)} outputs, "
                f"{call.op_type} has {len(function.input)} and {len(function.output)}"
            )
            raise UnsupportedModelError(msg)
        given = {a.name: self._resolve(a, scope) for a in call.attribute}
        attributes = {a.name: a for a in function.attribute_proto}
        attributes.update({name: a for name, a in given.items() if a is not None})
        inner = _Scope(scope.registers, f"{label}/", attributes)
        # Same frame, but the names around the call are not visible in it.
        for index, name in enumerate(function.input):
            inner.names[name] = scope.find(call.input[index]) if index < len(call.input) else ABSENT
        opsets = {_domain(o.domain): o.version for o in function.opset_import}
        self._compile_nodes(function.node, _Isolated(inner), opsets, depth + 1)
        for formal, actual in zip(function.output, call.output, strict=False):
            if actual:
                scope.names[actual] = inner.find(formal)

    @staticmethod
    def _resolve(attribute: onnx.AttributeProto, scope: _Scope) -> onnx.AttributeProto | None:
        """A reference to an attribute of the enclosing call; None where that call leaves it out."""
        return scope.attributes.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute

    def _compile_node(
        self, proto: onnx.NodeProto, scope: _Scope, opsets: Mapping[str, int], label: str, depth: int
    ) -> None:
        build = OPERATORS.get(proto.op_type)
        if build is None:
            msg = (
                f"node {label}: the standard operator {proto.op_type} is not one of those that bodies use: "
                f"{', '.join(OPERATORS)}; run it with onnxruntime"
            )
            raise UnsupportedModelError(msg)
        registers = scope.registers
        read = [scope.find(name) for name in proto.input]
        attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            resolved = self._resolve(attribute, scope)
            if resolved is None:
                continue
            if resolved.type == onnx.AttributeProto.GRAPH:
                frame, captures = self._subgraph(resolved.g, scope, opsets, label, depth)
                attributes[attribute.name] = frame
                read += captures
            else:
                attributes[attribute.name] = _attribute(resolved, label)
        constants = tuple(registers.values[i] if registers.constant[i] else None for i in read)
        present = tuple(i != ABSENT for i in read)
        node = Node(
            proto.op_type, label, opsets.get("", 1), attributes, constants, present, len(proto.output), self._tracer
        )
        try:
            kernel = build(node)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            msg = f"node {label}: {proto.op_type}: {error}"
            raise UnsupportedModelError(msg) from error
        labelled = f"{label}:{proto.op_type}" if proto.op_type not in label else label
        self._append(kernel, read, proto.output, scope, labelled)

    def _append(self, kernel: Any, read: Sequence[int], outputs: Sequence[str], scope: _Scope, label: str) -> None:
        registers = scope.registers
        invariant = all(registers.invariant[i] for i in read)
        written = tuple(registers.new(invariant=invariant) if name or len(outputs) == 1 else ABSENT for name in outputs)
        step: Step = (kernel, tuple(read), written[0] if len(written) == 1 else written, label)
        if all(registers.constant[i] for i in read) and self._fold(step, written, registers):
            pass
        elif invariant:
            registers.prologue.append(step)
        else:
            registers.steps.append(step)
        for name, register in zip(outputs, written, strict=True):
            if name:
                scope.names[name] = register

    @staticmethod
    def _fold(step: Step, written: tuple[int, ...], registers: _Registers) -> bool:
        """Runs a step of constants now; False where its result is too large to keep."""
        values = dict.fromkeys((ABSENT, *written), None) | {i: registers.values[i] for i in step[1]}
        with np.errstate(all="ignore"):
            execute([step], values, Tracer())  # type: ignore[arg-type]
        results = {i: value for i in written if i != ABSENT and (value := values[i]) is not None}
        if sum(value.nbytes for value in results.values()) > _LARGEST_CONSTANT:
            return False
        for register, value in results.items():
            registers.values[register] = value
            registers.constant[register] = True
        return True

    def _subgraph(
        self, graph: onnx.GraphProto, scope: _Scope, opsets: Mapping[str, int], label: str, depth: int
    ) -> tuple[Frame, list[int]]:
        registers = _Registers(scope.registers, scope)
        inner = _Scope(registers, f"{label}/", scope.attributes)
        self._add_initializers(graph, inner)
        inputs = []
        for value in graph.input:
            inner.names[value.name] = registers.new()
            inputs.append(inner.names[value.name])
        self._compile_nodes(graph.node, inner, opsets, depth)
        outputs = tuple(inner.find(value.name) for value in graph.output)
        # Captured constants stay captured: the frame's template already holds them, passing them again costs nothing.
        captures = list(registers.captured)
        frame = Frame(
            template=registers.values,
            prologue=registers.prologue,
            steps=registers.steps,
            inputs=tuple(inputs),
            input_types=tuple(declared_dtype(value) for value in graph.input),
            outputs=outputs,
            output_names=tuple(value.name for value in graph.output),
            captures=tuple(registers.captured.values()),
        )
        return frame, captures


class _Isolated(_Scope):
    """A function's scope: shares registers with the call's frame, sees none of its names."""

    def __init__(self, scope: _Scope) -> None:
        super().__init__(scope.registers, scope.prefix, scope.attributes)
        self.names = scope.names

    def find(self, name: str) -> int:
        register = self.names.get(name)
        if register is None:
            msg = f"{self.prefix.rstrip('/')}: the name {name!r} is used before anything gives it a value"
            raise UnsupportedModelError(msg)
        return register


def _tensor(proto: onnx.TensorProto, what: str) -> Array:
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        msg = f"{what}: its data lies in another file, expected it inside the model; export again"
        raise UnsupportedModelError(msg)
    try:
        dtype = element_dtype(proto.data_type)
        return np.ascontiguousarray(numpy_helper.to_array(proto), dtype).reshape(tuple(proto.dims))
    except (ValueError, TypeError) as error:
        msg = f"{what}: {error}"
        raise UnsupportedModelError(msg) from error


def _attribute(proto: onnx.AttributeProto, label: str) -> Any:
    if proto.type == onnx.AttributeProto.TENSOR:
        return _tensor(proto.t, f"node {label}: attribute {proto.name!r}")
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if proto.type in {onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS} else value
