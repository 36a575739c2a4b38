"""Model-local functions: nesting, overloads, attributes and their defaults, absent inputs, scopes; what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from qdeploy.runtime.errors import ContractError, InvalidFileError, InvalidInputError, UnsupportedModelError
from qdeploy.runtime.standard import OPERATORS, BodyModel

X = np.array([1, -2, 3], np.int64)


def test_attribute_defaults_references_and_nested_calls(compare):
    text = """g (int64[N] x) => (int64[N] a, int64[N] b) {
        a = qdeploy.Outer(x)
        b = qdeploy.Outer <amount = 7> (x)
    }
    <domain: "qdeploy", opset_import: ["": 18, "qdeploy": 1]>
    Outer <amount: int = 3> (v) => (r) { t = qdeploy.AddTo <n: int = @amount> (v)  r = Neg(t) }
    <domain: "qdeploy", opset_import: ["": 18]>
    AddTo <n> (v) => (r) { c = Constant <value_int: int = @n> ()  r = Add(v, c) }
    """
    a, b = compare(text, {"x": X}, reference=False)
    assert a.tolist() == [-4, -1, -6]
    assert b.tolist() == [-8, -5, -10]


def test_absent_inputs_and_outputs(compare):
    """A bound that the call leaves out is absent for Clip inside; an unused output has no name."""
    text = """g (int64[N] x, int64 hi) => (int64[N] a, int64[N] b) {
        a, unused = qdeploy.Bounded(x, , hi)
        b, other = qdeploy.Bounded(x)
    }
    <domain: "qdeploy", opset_import: ["": 18]>
    Bounded (v, low, high) => (r, n) { r = Clip(v, low, high)  n = Neg(v) }
    """
    a, b = compare(text, {"x": X, "hi": np.array(1)}, reference=False)
    assert a.tolist() == [1, -2, 1]
    assert b.tolist() == X.tolist()


def test_overloads(onnx_model):
    model = onnx_model(
        """g (int64[N] x) => (int64[N] a, int64[N] b) { a = qdeploy.F(x)  b = qdeploy.F(x) }
        <domain: "qdeploy", opset_import: ["": 18]> F (v) => (r) { r = Neg(v) }
        <domain: "qdeploy", opset_import: ["": 18]> G (v) => (r) { r = Abs(v) }"""
    )
    model.functions[1].name = "F"
    model.functions[1].overload = model.graph.node[1].overload = "absolute"
    result = BodyModel(model).run({"x": X})
    assert result["a"].tolist() == (-X).tolist()
    assert result["b"].tolist() == abs(X).tolist()
    model.graph.node[1].overload = "other"
    with pytest.raises(
        UnsupportedModelError, match=r"no function qdeploy::F with overload 'other'; it holds .*absolute"
    ):
        BodyModel(model)


def test_a_function_does_not_see_the_names_around_its_call(onnx_model):
    model = onnx_model(
        """g (int64[N] x) => (int64[N] y) { hidden = Neg(x)  y = qdeploy.F(x) }
        <domain: "qdeploy", opset_import: ["": 18]> F (v) => (r) { r = Add(v, hidden) }"""
    )
    with pytest.raises(UnsupportedModelError, match="'hidden' is used before"):
        BodyModel(model)


def test_one_function_in_two_nodes_with_a_scan_that_captures_its_inputs(compare):
    text = """g (int64[B] h, int64[T,B] x) => (int64[T,B] z, int64[B] m, int64[B] n) <int64 w = {3}, int64 u = {-2}> {
        y, m = qdeploy.Loop <k = 1> (x, h, w)
        z, n = qdeploy.Loop(y, h, u)
    }
    <domain: "qdeploy", opset_import: ["": 18]>
    Loop <k: int = 5> (x, h, w) => (y, last) {
        last, y = Scan <num_scan_inputs = 1, body = b (s, v) => (t, o) {
            c = Constant <value_int: int = @k> ()
            p = Mul(v, w)
            q = Add(p, c)
            t = Add(s, q)
            o = Identity(t)
        }> (h, x)
    }"""
    compare(text, {"h": np.array([1, 2]), "x": np.arange(6).reshape(3, 2)}, reference=False)


def test_constants_fold_at_load(body):
    model = body(
        """g (int64[N] x) => (int64[N] y) <int64[3] w = {1, 2, 3}> { y = qdeploy.F(x, w) }
        <domain: "qdeploy", opset_import: ["": 18]>
        F (v, w) => (r) { a = Mul(w, w)  b = Neg(a)  r = Add(v, b) }"""
    )
    seen: list[str] = []
    result = model.run({"x": X}, trace=lambda label, _: seen.append(label))
    assert seen == ["F_0/Add_2"]
    assert result["y"].tolist() == [0, -6, -6]


def test_any_top_level_tensor_can_be_asked_for(body):
    model = body("g (int64[N] x) => (int64[N] y) { a = Neg(x)  y = Abs(a) }")
    assert model.run({"x": X}, outputs=["a"])["a"].tolist() == (-X).tolist()
    with pytest.raises(InvalidInputError, match="no tensor 'q'; it has x, a, y"):
        model.run({"x": X}, outputs=["q"])


def test_results_are_the_callers_own(body):
    model = body(
        "g (int64[N] x) => (int64[N] y, int64[2] c) { y = Identity(x)  c = Constant <value_ints = [1, 2]> () }"
    )
    x = X.copy()
    first = model.run({"x": x})
    first["y"][0] = 99
    first["c"][0] = 99
    assert x.tolist() == X.tolist()
    assert model.run({"x": x})["c"].tolist() == [1, 2]


def test_an_unknown_operator_lists_those_that_exist(body):
    with pytest.raises(UnsupportedModelError, match=r"node Erf_0: the standard operator Erf .*Abs, Add.*Where"):
        body("g (float[N] x) => (float[N] y) { y = Erf(x) }")
    assert {"Scan", "MatMulInteger", "BitShift", "Cast"} <= OPERATORS.keys()


def test_a_function_that_calls_itself_is_refused(body):
    with pytest.raises(UnsupportedModelError, match="must not call themselves"):
        body(
            """g (int64[N] x) => (int64[N] y) { y = qdeploy.F(x) }
            <domain: "qdeploy", opset_import: ["": 18, "qdeploy": 1]> F (v) => (r) { r = qdeploy.F(v) }"""
        )


@pytest.mark.parametrize(
    ("feeds", "found"),
    [
        ({}, "input 'x' is missing"),
        ({"x": X, "z": X}, "found an input 'z'"),
        ({"x": X.astype(np.int32)}, "input 'x': found type int32, expected int64"),
        ({"x": X[None]}, r"input 'x': found shape \[1, 3\], expected \[3\]"),
        ({"x": X[:2]}, r"input 'x': found shape \[2\], expected \[3\]"),
    ],
)
def test_feeds_are_checked(body, feeds, found):
    with pytest.raises(InvalidInputError, match=found):
        body("g (int64[3] x) => (int64[3] y) { y = Neg(x) }").run(feeds)


def test_the_declared_output_type_counts(body):
    with pytest.raises(ContractError, match="output 'y' has type int64, the graph declares int32"):
        body("g (int64[3] x) => (int32[3] y) { y = Neg(x) }").run({"x": X})


def test_reads_bytes_and_files(onnx_model, tmp_path):
    model = onnx_model("g (int64[N] x) => (int64[N] y) { y = Neg(x) }")
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    for source in (model, model.SerializeToString(), path, str(path)):
        assert BodyModel(source).run({"x": X})["y"].tolist() == (-X).tolist()
    path.write_bytes(b"no model")
    with pytest.raises(InvalidFileError, match=r"model\.onnx"):
        BodyModel(path)
