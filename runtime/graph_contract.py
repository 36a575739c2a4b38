"""Whether a graph's layer-sized nodes are what their operators' contracts say, before anything is derived from them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.ops import DOMAIN, OPERATORS, operator_name

__all__ = ["check_operators"]

_INT8, _INT16, _INT32, _STATES = (
    (onnx.TensorProto.INT8,),
    (onnx.TensorProto.INT16,),
    (onnx.TensorProto.INT32,),
    (onnx.TensorProto.UINT8, onnx.TensorProto.INT16),
)
#: Element types and rank of the parameters that are constants; None leaves the rank to the operator.
_CONSTANTS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "weight": (_INT8, 2),
    "input_weight": (_INT8, 2),
    "recurrent_weight": (_INT8, 2),
    **dict.fromkeys("rijk", (_INT8, None)),
    "algebra": ((onnx.TensorProto.INT8, onnx.TensorProto.INT16), 3),
    "components": (_INT8, None),
    "factors": ((onnx.TensorProto.INT16,), 1),
    "bias": (_INT32, 1),
    "recurrent_bias": (_INT32, 1),
    "modrelu_bias": (_INT32, 1),
    "multiplier": (_INT32, 1),
    "multipliers": (_INT32, 1),
    "input_multiplier": (_INT32, 1),
    "addend": (_INT32, None),
    "matrix": (_INT16, 3),
    "table": (_STATES, 1),
    "entries": (_STATES, 1),
    "knots": ((onnx.TensorProto.INT16,), 1),
    **dict.fromkeys(
        ("sigmoid_table", "tanh_table", "gate_table", "candidate_table", "cell_table"), ((onnx.TensorProto.INT16,), 1)
    ),
    "packed": ((onnx.TensorProto.UINT8,), None),
    "places": ((onnx.TensorProto.UINT8,), 1),
    "values": ((onnx.TensorProto.UINT8,), 1),
}

#: Operators whose weights have kernel dimensions, or may have them: they check the rank themselves.
_WITH_KERNELS = ("HamiltonMatrix", "GateRows", "Conv", "QLinearConv")

#: Attributes that are no integers.
_KINDS = {
    "activation": onnx.AttributeProto.STRING,
    "rounding": onnx.AttributeProto.STRING,
    "grouping": onnx.AttributeProto.STRING,
    "output_grouping": onnx.AttributeProto.STRING,
    **dict.fromkeys(("shape", "kernel", "strides", "pads", "dilations", "counted"), onnx.AttributeProto.INTS),
    "order": onnx.AttributeProto.INTS,
}


def check_operators(model: onnx.ModelProto) -> None:
    """Every node of the domain ``qdeploy`` has its operator's attributes, inputs and constants, of the contract's types.

    Raises:
        InvalidFileError: with the node's name, what was found and what was expected.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    known = {*tensors, *(value.name for value in model.graph.input)}
    # What operators and what layout operators make of constants: unpacked weights and Hamilton matrices here, a quaternion
    # layer's repeated multipliers and biases there. The operators themselves check these.
    weights: set[str] = set()
    repeated: set[str] = set()
    for index, node in enumerate(model.graph.node):
        own = node.domain == DOMAIN
        if own:
            label = f"node {node.name or index} ({node.op_type})"
            for problem in _problems(node, tensors, known, weights, repeated):
                raise InvalidFileError(f"{label}: {problem}; the file was changed, export the model again")
        if all(name in tensors or name in weights or name in repeated for name in node.input if name):
            (weights if own else repeated).update(node.output)
        known.update(node.output)


def _problems(
    node: onnx.NodeProto, tensors: dict[str, onnx.TensorProto], known: set[str], weights: set[str], repeated: set[str]
) -> Iterator[str]:
    operator = OPERATORS.get(operator_name(node.op_type))
    if operator is None:
        yield f"unknown operator, this version has {', '.join(sorted(OPERATORS))}"
        return
    if not operator.takes(attribute.name for attribute in node.attribute):
        yield f"expected the attributes {', '.join(operator.attributes) or 'none'}"
    for attribute in node.attribute:
        if attribute.type != _KINDS.get(attribute.name, onnx.AttributeProto.INT) or attribute.ref_attr_name:
            yield f"attribute {attribute.name} has another type than the contract's"
        if attribute.name == "dtype" and attribute.i not in {2, 3, 5, 6}:
            yield f"dtype={attribute.i} is no activation's type"
    if len(node.input) > len(operator.inputs) or not 1 <= len(node.output) <= len(operator.outputs):
        yield f"found {len(node.input)} inputs and {len(node.output)} outputs"
        return
    names = [*node.input, *[""] * (len(operator.inputs) - len(node.input))]
    for parameter, name in zip(operator.inputs, names, strict=True):
        if not name:
            if parameter not in operator.optional:
                yield f"lacks its input {parameter}"
        elif name not in known:
            yield f"reads {name!r}, which nothing before it gives"
        elif parameter in _CONSTANTS and name not in weights:
            if (
                name in repeated
                and node.op_type.startswith(("Linear", "Conv", "QLinearConv"))
                and parameter in {"multiplier", "bias"}
            ):
                continue
            kinds, rank = _CONSTANTS[parameter]
            if parameter == "weight" and node.op_type.startswith(_WITH_KERNELS):
                rank = None
            tensor = tensors.get(name)
            if tensor is None or tensor.data_type not in kinds or rank not in {None, len(tensor.dims)}:
                yield f"{parameter} is no constant of the contract's type and rank"
            elif 0 in tensor.dims:
                yield f"{parameter} is empty"
