"""Gives every ``qdeploy`` node of a model its body: chooses it, adds the function once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.export.onnx.functions import BODIES, IR_VERSION, OPSET, Site
from qdeploy.runtime.errors import ContractError, QdeployError, UnsupportedModelError
from qdeploy.runtime.graph_contract import check_operators
from qdeploy.runtime.ops import DOMAIN, OPERATORS, VERSION, WEIGHT_OPERATORS, Node, operator_name

LAYOUT_DTYPE_SOURCE = 0
"""Layout operators hand on the element type of their first input."""


def attach_bodies(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy of ``model`` whose every ``qdeploy`` node has a body.

    Requires: nodes in topological order, operators and attributes as their contracts say.
    Ensures: one FunctionProto per body in use, named ``Operator_arrangement``, opset and IR version as low as they suffice.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.functions[:]
    functions: dict[str, onnx.FunctionProto] = {}
    for site in sites(result):
        operator = operator_name(site.node.op_type)
        write = BODIES.get(operator)
        if write is None:
            raise UnsupportedModelError(
                f"node {site.node.name}: the ONNX target has no body for {operator}; it has {', '.join(sorted(BODIES))}."
            )
        try:
            written = write(site)
        except QdeployError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            # Shapes and ranges that the contract forbids, in a file that was changed: the reference says which.
            raise ContractError(f"node {site.node.name} ({operator}): {error}; export the model again") from error
        site.node.op_type = written.name
        functions[written.name] = written
    result.functions.extend(functions[key] for key in sorted(functions))
    opset = max(OPSET, next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), OPSET))
    for written in result.functions:
        written.opset_import[0].version = opset
    del result.opset_import[:]
    result.opset_import.append(onnx.helper.make_opsetid("", opset))
    result.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    result.ir_version = IR_VERSION
    return result


def sites(model: onnx.ModelProto) -> Iterator[Site]:
    """Every ``qdeploy`` node of ``model`` with its constants and the element types of its inputs.

    Raises:
        InvalidFileError: a node that is not what its operator's contract says.
        ContractError: constants that the contract forbids.
    """
    check_operators(model)
    constants: dict[str, NDArray[Any]] = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    dtypes = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    dtypes.update({tensor.name: tensor.data_type for tensor in model.graph.initializer})
    for node in model.graph.node:
        if node.domain != DOMAIN:
            for name in node.output:
                dtypes[name] = _layout_dtype(node, dtypes)
            if node.op_type == "Concat" and all(name in constants for name in node.input):
                # A quaternion layer's multipliers, repeated for its four parts.
                parts = [constants[name] for name in node.input]
                axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
                try:
                    constants[node.output[0]] = np.concatenate(parts, axis)
                except ValueError as error:
                    raise ContractError(f"node {node.name} (Concat): {error}") from error
            continue
        operator = OPERATORS[operator_name(node.op_type)]
        attributes = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in node.attribute}
        named = {parameter: name for parameter, name in zip(operator.inputs, node.input, strict=False) if name}
        known = {parameter: constants[name] for parameter, name in named.items() if name in constants}
        site = Site(node, attributes, known, {p: dtypes[name] for p, name in named.items() if name in dtypes})
        if operator.name in WEIGHT_OPERATORS:
            try:
                (constants[node.output[0]],) = operator.meaning(Node(node.name), *known.values(), **attributes)
            except (ValueError, IndexError, TypeError, OverflowError) as error:
                raise ContractError(f"node {node.name} ({node.op_type}): {error}") from error
        for place, name in enumerate(node.output):
            if name:
                dtypes[name] = _output_dtype(site, place)
        yield site


def made_of_constants(operator: str) -> int:
    """The element type of what an operator of ``WEIGHT_OPERATORS`` gives: weights are int8, tables int16."""
    return int(onnx.TensorProto.INT16 if operator == "InterpolatedTable" else onnx.TensorProto.INT8)


def _layer_dtype(site: Site) -> int:
    if "dtype" in site.attributes:
        return int(site.attributes["dtype"])
    operator = operator_name(site.node.op_type)
    if operator in WEIGHT_OPERATORS:
        return made_of_constants(operator)
    return site.dtypes.get("entries" if operator == "Table" else "x", onnx.TensorProto.UNDEFINED)


def _output_dtype(site: Site, place: int) -> int:
    """The element type of output ``place``: a cell state has its own."""
    if OPERATORS[operator_name(site.node.op_type)].outputs[place] == "y_c":
        return onnx.TensorProto.INT16
    return _layer_dtype(site)


def _layout_dtype(node: onnx.NodeProto, dtypes: dict[str, int]) -> int:
    if node.op_type == "QuantizeLinear":
        return dtypes.get(node.input[2], onnx.TensorProto.UNDEFINED) if len(node.input) > 2 else onnx.TensorProto.UINT8
    if node.op_type == "DequantizeLinear":
        return onnx.TensorProto.FLOAT
    source = node.input[LAYOUT_DTYPE_SOURCE] if node.input else ""
    return dtypes.get(source, onnx.TensorProto.UNDEFINED)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [int(item) for item in value] if value and isinstance(value[0], (int, np.integer)) else value
    return value
