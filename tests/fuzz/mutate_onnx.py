"""Mutations of parsed protobuf messages: any field of any message of an ONNX model."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from .mutate_bytes import NUMBERS, TEXTS, mutate_bytes

_OPERATORS = (
    "Add", "MatMul", "Gemm", "Relu", "Tanh", "Sigmoid", "Softmax", "Conv", "Gather", "Slice", "Reshape", "Flatten", "Concat",
    "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Scan", "Loop", "If", "RNN", "LSTM", "GRU", "ConstantOfShape",
    "Constant", "Expand", "Tile", "Range", "Shape", "Cast", "Neg", "Mul", "Div", "Mod", "BitShift", "Clip", "Pad", "Resize",
    "NoSuchOperator", "QuantizeLinear", "Linear", "Where", "Sign", "Abs", "LogSoftmax", "Einsum", "TopK", "NonZero", "Split",
)  # fmt: skip
_INTEGERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_ENUM,
    }
)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, float("nan"), float("inf"), 1e30, 1e-30)


def mutate_onnx(random: Random, data: bytes) -> bytes:
    """One to three changes of the model, or of its bytes."""
    if random.random() < 0.12:
        return mutate_bytes(random, data)
    model = onnx.ModelProto()
    model.ParseFromString(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _change(random, model)
    return model.SerializeToString()


def _change(random: Random, model: onnx.ModelProto) -> None:
    if random.random() < 0.12:
        random.choice(_WHOLE)(random, model)
        return
    messages = list(_messages(model))
    message = random.choice(messages)
    fields = [field for field, _ in message.ListFields()]
    # Now and then a field that is not there yet.
    field = random.choice(message.DESCRIPTOR.fields if random.random() < 0.15 or not fields else fields)
    if _repeated(field):
        _change_list(random, message, field, messages)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        _change_message(random, message, field, messages)
    elif random.random() < 0.1:
        message.ClearField(field.name)
    else:
        _assign(message, field.name, _scalar(random, field, getattr(message, field.name), messages))


def _repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated) if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED


def _messages(message: Message) -> Any:
    yield message
    for field, value in message.ListFields():
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for one in value if _repeated(field) else (value,):
                yield from _messages(one)


def _alike(random: Random, descriptor: Any, messages: list[Message]) -> Message | None:
    fitting = [one for one in messages if one.DESCRIPTOR is descriptor]
    return random.choice(fitting) if fitting else None


def _change_list(random: Random, message: Message, field: FieldDescriptor, messages: list[Message]) -> None:
    values = getattr(message, field.name)
    kind = random.randrange(5)
    if len(values) and kind == 0:
        del values[random.randrange(len(values))]
    elif len(values) > 1 and kind == 1:
        order = list(values)
        random.shuffle(order)
        del values[:]
        values.extend(order)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        other = _alike(random, field.message_type, messages)
        if other is None:
            values.add()
        elif len(values) and kind == 2:
            # A copy first: the other may hold this one.
            copied = type(other)()
            copied.CopyFrom(other)
            values[random.randrange(len(values))].CopyFrom(copied)
        else:
            copied = type(other)()
            copied.CopyFrom(other)
            values.append(copied)
    elif len(values) and kind != 2:
        index = random.randrange(len(values))
        _assign(values, index, _scalar(random, field, values[index], messages))
    else:
        for _ in range(random.choice((1, 1, 8, 40))):
            value = _scalar(random, field, values[0] if len(values) else None, messages)
            try:
                values.append(value)
            except (ValueError, TypeError, UnicodeError):
                return


def _change_message(random: Random, message: Message, field: FieldDescriptor, messages: list[Message]) -> None:
    other = _alike(random, field.message_type, messages)
    if other is None or random.random() < 0.4:
        message.ClearField(field.name)
        if random.random() < 0.5:
            getattr(message, field.name).SetInParent()
        return
    copied = type(other)()
    copied.CopyFrom(other)
    getattr(message, field.name).CopyFrom(copied)


def _assign(place: Any, key: str | int, value: Any) -> None:
    """Sets a field or an element; a value outside the field's type is left out."""
    try:
        if isinstance(key, str):
            setattr(place, key, value)
        else:
            place[key] = value
    except (ValueError, TypeError, UnicodeError):
        return


def _scalar(random: Random, field: FieldDescriptor, value: Any, messages: list[Message]) -> Any:
    if field.cpp_type in _INTEGERS:
        near = (value or 0) + random.choice((-1, 1, 2))
        return random.choice((near, random.choice(NUMBERS), random.randrange(24), -(value or 1)))
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return random.choice(_FLOATS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice((mutate_bytes(random, value or b""), b"", (value or b"") * 2, b"\xff" * len(value or b"")))
    if field.name == "op_type" and random.random() < 0.8:
        return random.choice(_OPERATORS)
    names = [
        name for one in messages if isinstance(one, onnx.NodeProto) for name in (*one.input, *one.output, one.domain)
    ]
    return random.choice((*TEXTS, *names, *names))


def _huge_constant(random: Random, model: onnx.ModelProto) -> None:
    """A node that makes an enormous tensor from a few numbers, and is read."""
    size = random.choice((2**26, 2**28, 2**33, 10**12, 2**62))
    shape = onnx.numpy_helper.from_array(np.array([size, random.choice((1, 4))], np.int64), "huge_shape")
    model.graph.initializer.append(shape)
    kind = random.choice(("ConstantOfShape", "Expand", "Tile", "Range"))
    inputs = {"ConstantOfShape": ["huge_shape"], "Range": ["huge_start", "huge_stop", "huge_step"]}.get(kind)
    if kind == "Range":
        for name, number in (("huge_start", 0), ("huge_stop", size), ("huge_step", 1)):
            model.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [], [number]))
    if inputs is None:
        source = (
            model.graph.initializer[0].name
            if random.random() < 0.7 or not model.graph.input
            else model.graph.input[0].name
        )
        inputs = [source, "huge_shape"]
    model.graph.node.insert(0, onnx.helper.make_node(kind, inputs, ["huge"], name="huge"))
    reader = random.choice(model.graph.node)
    if reader.input:
        reader.input[random.randrange(len(reader.input))] = "huge"


def _promise(random: Random, model: onnx.ModelProto) -> None:
    """A tensor that promises more than it holds."""
    if model.graph.initializer:
        tensor = random.choice(model.graph.initializer)
        tensor.dims.extend([random.choice((10**12, 2**31, 2**40, 0, -1))] * random.choice((1, 2, 9, 70)))


def _external(random: Random, model: onnx.ModelProto) -> None:
    """Data outside the file, or said to be."""
    if not model.graph.initializer:
        return
    tensor = random.choice(model.graph.initializer)
    places = (
        "/etc/passwd",
        "../outside.bin",
        "/dev/zero",
        "data.bin",
        ".",
        "",
        "model.onnx",
        "a/b",
        "x\0y",
        "link.bin",
    )
    tensor.data_location = onnx.TensorProto.EXTERNAL
    if random.random() < 0.7:
        tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value=random.choice(places))
    for key in ("offset", "length", "checksum", "location"):
        if random.random() < 0.4:
            tensor.external_data.add(
                key=key, value=random.choice(("0", "-1", "x", "99999999999999", "4", "1e3", "٣", *places))
            )


def _recursive(random: Random, model: onnx.ModelProto) -> None:
    """A function that calls itself, or two that call each other."""
    names = ["Again", "Other"] if random.random() < 0.5 else ["Again"]
    for index, name in enumerate(names):
        call = onnx.helper.make_node(names[index - 1], ["a"], ["b"], domain="own")
        opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("own", 1)]
        model.functions.append(onnx.helper.make_function("own", name, ["a"], ["b"], [call], opsets))
    model.opset_import.add(domain="own", version=1)
    if model.graph.node:
        target = random.choice(model.graph.node)
        target.domain, target.op_type = "own", "Again"


def _doubling(random: Random, model: onnx.ModelProto) -> None:
    """Functions that each call the next one twice: a few hundred bytes stand for 2^30 nodes."""
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("own", 1)]
    depth = random.choice((8, 30))
    for level in range(depth):
        callee, domain = (f"F{level + 1}", "own") if level + 1 < depth else ("Relu", "")
        calls = [onnx.helper.make_node(callee, [one], [out], domain=domain) for one, out in (("a", "m"), ("m", "b"))]
        model.functions.append(onnx.helper.make_function("own", f"F{level}", ["a"], ["b"], calls, opsets))
    model.opset_import.add(domain="own", version=1)
    if model.graph.node:
        target = random.choice(model.graph.node)
        del target.attribute[:]
        target.domain, target.op_type = "own", "F0"
        del target.input[1:]


def _nested(random: Random, model: onnx.ModelProto) -> None:
    """Graphs in graphs, as deep as protobuf lets them be and deeper."""
    inner = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["deep"])], "leaf", [], [])
    inner.output.add(name="deep")
    for level in range(random.choice((5, 14, 20, 30))):
        node = onnx.helper.make_node("If", ["x"], [f"deep{level}"])
        for branch in ("then_branch", "else_branch") if random.random() < 0.1 and level < 12 else ("then_branch",):
            attribute = node.attribute.add(name=branch, type=onnx.AttributeProto.GRAPH)
            attribute.g.CopyFrom(inner)
        inner = onnx.helper.make_graph([node], f"level{level}", [], [])
        inner.output.add(name=f"deep{level}")
    model.graph.node.append(inner.node[0])


def _sparse(random: Random, model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(onnx.helper.make_tensor("sparse", onnx.TensorProto.FLOAT, [1], [1.0]))
    sparse.indices.CopyFrom(onnx.helper.make_tensor("sparse_i", onnx.TensorProto.INT64, [1], [random.choice(NUMBERS)]))
    sparse.dims.extend([10**12])


def _opset(random: Random, model: onnx.ModelProto) -> None:
    for entry in model.opset_import:
        entry.version = random.choice((1, 6, 7, 9, 11, 13, 17, 18, 21, 99, -1, 2**40))
    model.ir_version = random.choice((model.ir_version, 3, 8, 10, 99, 0))


_WHOLE = (_huge_constant, _huge_constant, _promise, _external, _recursive, _doubling, _nested, _sparse, _opset)
