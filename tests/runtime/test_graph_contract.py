"""Layer-sized nodes that are not what their operators' contracts say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from qdeploy.runtime.bundle import read_bundle
from qdeploy.runtime.errors import InvalidFileError
from qdeploy.runtime.graph_contract import check_operators
from qdeploy.runtime.ops import OPERATORS, operator_name

LINEAR = """<ir_version: 8, opset_import: ["": 18, "qdeploy": 1]>
    g (uint8[n, 4] x) => (uint8[n, 3] y) {
        y = qdeploy.Linear <x_zero_point = 0, shift = 8, y_zero_point = 0, low = 0, high = 255, dtype = 2>
            (x, weight, bias, multiplier)
    }"""
CONSTANTS = {
    "weight": np.ones((3, 4), np.int8),
    "bias": np.zeros(3, np.int32),
    "multiplier": np.ones(1, np.int32),
}


def model(**constants):
    made = onnx.parser.parse_model(LINEAR)
    made.graph.node[0].name = "layer"
    for name, array in (CONSTANTS | constants).items():
        if array is not None:
            made.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return made


def attribute(made, name):
    return next(one for one in made.graph.node[0].attribute if one.name == name)


def test_a_node_by_its_contract():
    check_operators(model())


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"weight": None}, "reads 'weight', which nothing before it gives"),
        ({"weight": np.ones((3, 4), np.int16)}, "weight is no constant of the contract's type and rank"),
        ({"weight": np.ones(3, np.int8)}, "weight is no constant"),
        ({"weight": np.ones((0, 4), np.int8)}, "weight is empty"),
        ({"bias": np.zeros(3, np.float32)}, "bias is no constant"),
        ({"multiplier": np.ones((1, 1), np.int32)}, "multiplier is no constant"),
    ],
)
def test_constants(constants, words):
    with pytest.raises(InvalidFileError, match=rf"node layer \(Linear\): {words}.*export the model again"):
        check_operators(model(**constants))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.graph.node[0].attribute.pop(), "expected the attributes x_zero_point, shift"),
        (lambda m: m.graph.node[0].attribute.add(name="more"), "expected the attributes"),
        (lambda m: setattr(attribute(m, "shift"), "type", onnx.AttributeProto.STRING), "shift has another type"),
        (lambda m: setattr(attribute(m, "shift"), "ref_attr_name", "s"), "shift has another type"),
        (lambda m: setattr(attribute(m, "dtype"), "i", 1), "dtype=1 is no activation's type"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Deconvolve"), "unknown operator, this version has Add"),
        (lambda m: m.graph.node[0].input.append("x"), "found 5 inputs and 1 outputs"),
        (lambda m: m.graph.node[0].output.append("z"), "found 4 inputs and 2 outputs"),
        (lambda m: m.graph.node[0].input.pop(), "lacks its input multiplier"),
        (lambda m: m.graph.node[0].input.__setitem__(1, "x"), "weight is no constant"),
    ],
)
def test_nodes(change, words):
    made = model()
    change(made)
    with pytest.raises(InvalidFileError, match=words):
        check_operators(made)


@pytest.mark.parametrize(
    ("bundle", "parameter"),
    [
        ("gru-state8", "recurrent_bias"),
        ("gru-state8", "sigmoid_table"),
        ("gru-state8", "tanh_table"),
        ("lstm-state8", "gate_table"),
        ("lstm-state8", "candidate_table"),
        ("lstm-state8", "cell_table"),
    ],
)
def test_constants_of_gated_layers(bundle, parameter):
    made = read_bundle(Path(__file__).parents[1] / "golden" / "bundles" / f"{bundle}.zip").model
    check_operators(made)
    operator = bundle.partition("-")[0].upper()
    node = next(one for one in made.graph.node if operator_name(one.op_type) == operator)
    name = node.input[OPERATORS[operator].inputs.index(parameter)]
    tensor = next(one for one in made.graph.initializer if one.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), name))
    with pytest.raises(InvalidFileError, match=f"{parameter} is no constant of the contract's type and rank"):
        check_operators(made)
