"""The claim "integer-only" is checked in every corner of a file."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest

from qdeploy.export.onnx import attach_bodies, check_integer_only, inline
from qdeploy.runtime.errors import UnsupportedModelError

HEAD = '<ir_version: 8, opset_import: ["" : 18, "qdeploy" : 1]>'
CLEAN = f"""{HEAD}
g (uint8[N, 4] x) => (uint8[N, 4] y)
{{
  y = qdeploy.Relu <zero_point = 3> (x)
}}
"""


def test_a_clean_model_passes() -> None:
    check_integer_only(attach_bodies(onnx.parser.parse_model(CLEAN)))


OFFENDERS = {
    "a float input": ("g (float[N] x) => (uint8[N] y) { y = Cast <to = 2> (x) }", "float tensor"),
    "a float initializer": (
        "g (uint8[N] x) => (uint8[N] y) <float[1] w = {1.0}> { y = Identity (x) }",
        "initializer w",
    ),
    "a float constant": (
        "g (uint8[N] x) => (uint8[N] y) { c = Constant <value = float {1.0}> () y = Identity (x) }",
        "attribute value is a float tensor",
    ),
    "a float attribute": (
        "g (uint8[N] x) => (uint8[N] y) { c = Constant <value_float = 1.0> () y = Identity (x) }",
        "attribute value_float",
    ),
    "a cast to float": (
        "g (uint8[N] x) => (uint8[N] y) { f = Cast <to = 1> (x) y = Cast <to = 2> (f) }",
        "casts to a float type",
    ),
    "a cast to bfloat16": (
        "g (uint8[N] x) => (uint8[N] y) { f = Cast <to = 16> (x) y = Cast <to = 2> (f) }",
        "casts to",
    ),
    "QLinearMatMul": (
        "g (uint8[N] x) => (uint8[N] y) { y = QLinearMatMul (x, x, x, x, x, x, x, x) }",
        "not an integer operator",
    ),
    "DequantizeLinear": ("g (uint8[N] x) => (uint8[N] y) { y = DequantizeLinear (x, x) }", "not an integer operator"),
    "a loop's body": (
        """g (uint8[N] x) => (uint8[N] y) { y = Scan <num_scan_inputs = 1, body = b (uint8[?] v) => (uint8[?] w)
        { f = Cast <to = 1> (v) w = Cast <to = 2> (f) }> (x) }""",
        "casts to a float type",
    ),
    "a foreign domain": ("g (uint8[N] x) => (uint8[N] y) { y = com.microsoft.QGemm (x) }", "not an integer operator"),
    "an unknown operator of ours": (
        "g (uint8[N] x) => (uint8[N] y) { y = qdeploy.Deconvolve (x) }",
        "no operator of this version",
    ),
}


@pytest.mark.parametrize("name", OFFENDERS)
def test_every_offender_is_found_and_named(name: str) -> None:
    text, message = OFFENDERS[name]
    with pytest.raises(UnsupportedModelError, match=message):
        check_integer_only(onnx.parser.parse_model(f"{HEAD}\n{text}"))


def test_a_float_inside_a_body_is_found() -> None:
    model = attach_bodies(onnx.parser.parse_model(CLEAN))
    model.functions[0].node.append(onnx.helper.make_node("Cast", ["wide"], ["f"], to=onnx.TensorProto.FLOAT))
    with pytest.raises(UnsupportedModelError, match=r"body of Relu_u8: .*casts to a float type"):
        check_integer_only(model)


def test_borders_are_allowed_at_the_border_only() -> None:
    text = """
    g (float[N] x, float s, uint8 z) => (uint8[N] y) { q = QuantizeLinear (x, s, z) y = Identity (q) }"""
    model = onnx.parser.parse_model(HEAD + text)
    model.graph.node[0].name = "border"
    check_integer_only(model, float_io=True)
    with pytest.raises(UnsupportedModelError):
        check_integer_only(model)
    inner = onnx.parser.parse_model(
        f"{HEAD}\ng (uint8[N] x, float s) => (uint8[N] y) {{ f = DequantizeLinear (x, s) y = QuantizeLinear (f, s) }}"
    )
    for index, node in enumerate(inner.graph.node):
        node.name = f"n{index}"
    with pytest.raises(UnsupportedModelError, match=r"does not stand at an (in|out)put"):
        check_integer_only(inner, float_io=True)


QLINEAR = """
g (uint8[N, 2, 4] x) => (uint8[N, 2, 4] y)
<int8[2, 2, 1] w = {1, 2, 3, 4}, int32[2] b = {0, 1}, int32[1] m = {1}>
{
  y = qdeploy.QLinearConv <strides = [1], pads = [0, 0], dilations = [1], group = 1, x_zero_point = 3, shift = 2,
    y_zero_point = 5, low = 0, high = 255, dtype = 2, rounding = "half_even"> (x, w, b, m)
}
"""


def test_the_mode_that_is_not_strict_has_to_be_named() -> None:
    """Before bodies are attached, with them, and in the flat form."""
    model = onnx.parser.parse_model(HEAD + QLINEAR)
    complete = attach_bodies(model)
    for form, message in (
        (model, "requantizes in single precision"),
        (complete, "requantizes in single precision"),
        (inline(complete), "not an integer operator|casts to a float type"),
    ):
        check_integer_only(form, qlinear=True)
        with pytest.raises(UnsupportedModelError, match=message):
            check_integer_only(form)


@pytest.mark.parametrize("where", ["elsewhere", "as a scale and elsewhere"])
def test_its_floats_are_scales_and_nothing_else(where: str) -> None:
    complete = attach_bodies(onnx.parser.parse_model(HEAD + QLINEAR))
    (body,) = complete.functions
    if where == "elsewhere":
        body.node.append(onnx.helper.make_node("Cast", ["multiplier"], ["f"], to=onnx.TensorProto.FLOAT))
    else:
        scale = next(node.input[6] for node in body.node if node.op_type == "QLinearConv")
        body.node.append(onnx.helper.make_node("Identity", [scale], ["free"]))
    with pytest.raises(UnsupportedModelError, match="casts to a float type"):
        check_integer_only(complete, qlinear=True)
