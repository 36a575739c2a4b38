"""Models that would lead a library on without end, or promise more than they hold."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from qdeploy.runtime.errors import InvalidFileError, UnsupportedModelError
from qdeploy.runtime.model_file import load_model, parse_model
from qdeploy.runtime.model_sizes import check_sizes
from qdeploy.runtime.model_structure import DEEPEST_GRAPH

HEAD = '<ir_version: 8, opset_import: ["": 18, "own": 1]>'


def parsed(text: str, change=None) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f"{HEAD}\n{text}")
    if change is not None:
        change(model)
    return parse_model(model.SerializeToString(), "m.onnx")


RELU = "g (float[n] x) => (float[n] y) { y = Relu (x) }"


def test_a_whole_model():
    assert parsed(RELU).graph.node[0].op_type == "Relu"


def test_functions_that_call_each_other():
    with pytest.raises(InvalidFileError, match=r"m\.onnx: function 'own::[AB]' calls itself"):
        parsed(
            """g (float[n] x) => (float[n] y) { y = own.A (x) }
            <domain: "own", opset_import: ["": 18, "own": 1]> A (a) => (b) { b = own.B (a) }
            <domain: "own", opset_import: ["": 18, "own": 1]> B (a) => (b) { b = own.A (a) }"""
        )


@pytest.mark.parametrize(("levels", "fits"), [(12, True), (30, False)])
def test_functions_that_double(levels, fits):
    functions = "\n".join(
        f'<domain: "own", opset_import: ["": 18, "own": 1]> F{level} (a) => (b) '
        f"{{ m = own.F{level + 1} (a) b = own.F{level + 1} (m) }}"
        for level in range(levels)
    )
    text = f"""g (float[n] x) => (float[n] y) {{ y = own.F0 (x) }}
        {functions}
        <domain: "own", opset_import: ["": 18]> F{levels} (a) => (b) {{ b = Relu (a) }}"""
    if fits:
        assert len(parsed(text).functions) == levels + 1
    else:
        with pytest.raises(InvalidFileError, match="stand for more than 100000 nodes"):
            parsed(text)


def test_two_functions_of_a_name():
    text = """g (float[n] x) => (float[n] y) { y = own.A (x) }
        <domain: "own", opset_import: ["": 18]> A (a) => (b) { b = Relu (a) }"""
    with pytest.raises(InvalidFileError, match="two functions 'own::A'"):
        parsed(text, lambda model: model.functions.append(model.functions[0]))


def test_graphs_in_graphs():
    inner = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["z"])], "leaf", [], [])
    for level in range(DEEPEST_GRAPH + 1):
        inner = onnx.helper.make_graph(
            [onnx.helper.make_node("If", ["c"], [f"z{level}"], then_branch=inner)], "g", [], []
        )
    with pytest.raises(InvalidFileError, match=f"more than {DEEPEST_GRAPH} deep"):
        parsed(RELU, lambda model: model.graph.node.append(inner.node[0]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.dims.append(10**12), r"does not fit its shape \[3, 1000000000000\]"),
        (lambda t: t.dims.append(0), r"does not fit its shape"),
        (lambda t: t.dims.append(-1), "no negative one"),
        (lambda t: t.dims.extend([1] * 70), "at most 16 axes"),
        (lambda t: setattr(t, "raw_data", t.raw_data[:-1]), "does not fit its shape"),
        (lambda t: setattr(t, "data_type", 99), "element type 99"),
        (lambda t: setattr(t, "data_type", 0), "element type 0"),
        (lambda t: setattr(t, "data_location", 1), "lies in another file"),
        (lambda t: t.external_data.add(key="location", value="/etc/passwd"), "lies in another file"),
    ],
)
@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_tensors_that_promise_more_than_they_hold(change, words, place):
    def add(model):
        tensor = onnx.numpy_helper.from_array(np.ones(3, np.float32), "t")
        change(tensor)
        if place == "initializer":
            model.graph.initializer.append(tensor)
        else:
            node = model.graph.node.add(op_type="Constant", output=["c"])
            node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)

    with pytest.raises(InvalidFileError, match=words):
        parsed(RELU, add)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: setattr(value.type.tensor_type, "elem_type", -2), "element type -2"),
        (lambda value: value.type.tensor_type.shape.dim.add(dim_value=-4), "expected positive sizes"),
        (lambda value: value.type.tensor_type.shape.dim.add(dim_value=10**12), "expected positive sizes"),
    ],
)
def test_types_and_sizes_of_values(change, words):
    with pytest.raises(InvalidFileError, match=words):
        parsed(RELU, lambda model: change(model.graph.input[0]))


def test_a_name_that_is_no_text():
    content = onnx.parser.parse_model(f"{HEAD}\n{RELU}").SerializeToString().replace(b"Relu", b"Re\xffu")
    with pytest.raises(InvalidFileError, match=r"NodeProto\.op_type is .* expected UTF-8"):
        parse_model(content, "m.onnx")


@pytest.mark.parametrize(
    "node",
    [
        "big = ConstantOfShape (sizes)",
        "big = Expand (x, sizes)",
        "big = Range (zero, count, one)",
    ],
)
def test_nodes_that_make_much_of_little(node):
    constants = "int64[1] sizes = {100000000}, int64 zero = {0}, int64 count = {1000000000000}, int64 one = {1}"
    text = f"g (float[n] x) => (float[n] y) <{constants}> {{ {node} y = Relu (x) }}"
    with pytest.raises(UnsupportedModelError, match=r"makes 10+ elements, expected at most 67108864"):
        parsed(text)
    assert parsed(text.replace("100000000}", "10}").replace("1000000000000}", "10}"))


def test_repeats_of_a_whole_input():
    """One bit of a file more: 2^26 repeats, of an input that may be large itself."""
    text = "g (float[n] x) => (float[n] y) <int64[1] sizes = {67108864}> { big = Tile (x, sizes) y = Relu (x) }"
    with pytest.raises(UnsupportedModelError, match="makes 67108864 repeats, expected at most 1048576"):
        parsed(text)
    assert parsed(text.replace("67108864", "1048576"))


def test_elements_that_an_expanding_node_names():
    """By its attribute, or, in an inlined file, by the product of a constant shape."""
    words = r"makes 10+ elements, expected at most 67108864"
    text = "g (float[n] x) => (float[n] y) { big = own.Spread <shape = [100000, 1000000000]> (x) y = Relu (x) }"
    with pytest.raises(UnsupportedModelError, match=words):
        check_sizes(onnx.parser.parse_model(f"{HEAD}\n{text}"), "m.onnx")
    lines = "sizes = Constant <value_ints = [4294967296, 4294967296]> () size = ReduceProd (sizes)"
    with pytest.raises(UnsupportedModelError, match="makes 67108865 elements"):
        parsed(f"g (float[n] x) => (float[n] y) {{ {lines} big = ConstantOfShape (size) y = Relu (x) }}")


def test_what_onnx_refuses():
    with pytest.raises(InvalidFileError, match=r"m\.onnx: not a valid ONNX model: .*topologically sorted"):
        parsed("g (float[n] x) => (float[n] y) { y = Relu (z) }")


def test_a_device_is_no_model():
    from pathlib import Path

    with pytest.raises(InvalidFileError, match="is no plain file"):
        load_model(Path("/dev/zero"))
