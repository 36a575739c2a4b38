"""The float functions compute what their docstrings say, for any size, as one function in several nodes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.capture.functions import ACTIVATIONS, GROUPINGS, float_functions, functions_of, hypercomplex_overload
from qdeploy.capture.session import FloatSession


def model_of(node, inputs, outputs):
    """One node whose inputs are all inputs of the graph."""
    graph = onnx.helper.make_graph(
        [node],
        "test",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * rank) for name, rank in inputs],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
    )
    return onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy.float", 1)],
        functions=functions_of([node]),
        ir_version=10,
    )


def float_node(op_type, inputs, outputs, overload="", **attributes):
    node = onnx.helper.make_node(op_type, inputs, outputs, domain="qdeploy.float", **attributes)
    node.overload = overload
    return node


def test_functions_have_no_fixed_dimensions():
    for function in float_functions().values():
        assert not function.value_info
        assert {entry.version for entry in function.opset_import} == {18}


@pytest.mark.parametrize("overload", ["bias", "no_bias"])
@pytest.mark.parametrize("shape", [(2, 5), (4, 3, 5)])
def test_linear(rng, overload, shape):
    names = ["x", "weight", "bias"][: 3 if overload == "bias" else 2]
    node = float_node("Linear", names, ["y"], overload)
    feeds = {"x": rng.normal(size=shape), "weight": rng.normal(size=(7, 5)), "bias": rng.normal(size=7)}
    feeds = {name: feeds[name].astype(np.float32) for name in names}
    result = FloatSession(model_of(node, [(name, feeds[name].ndim) for name in names], ["y"])).run(feeds)["y"]
    np.testing.assert_allclose(result, feeds["x"] @ feeds["weight"].T + feeds.get("bias", 0), atol=1e-5)


def test_modrelu_of_zero_is_zero():
    node = float_node("ModRelu", ["x", "bias"], ["y"])
    session = FloatSession(model_of(node, [("x", 2), ("bias", 1)], ["y"]))
    x = np.array([[-2.0, -0.5, 0.0, 0.5, 2.0]], np.float32)
    result = session.run({"x": x, "bias": np.full(5, -1.0, np.float32)})["y"]
    assert result.tolist() == [[-1.0, 0.0, 0.0, 0.0, 1.0]]
    shifted = session.run({"x": x, "bias": np.full(5, 1.0, np.float32)})["y"]
    assert shifted.tolist() == [[-3.0, -1.5, 0.0, 1.5, 3.0]]


@pytest.mark.parametrize("grouping", GROUPINGS)
@settings(max_examples=15, deadline=None)
@given(m=st.integers(1, 3), n=st.integers(1, 3), kernel=st.sampled_from([(), (3,), (2, 3)]), seed=st.integers(0, 99))
def test_hamilton_matrix_is_the_models_own(grouping, m, n, kernel, seed):
    torch = pytest.importorskip("torch")
    from qdeploy.models import hamilton_matrix

    shape = (m, n, *kernel)
    parts = [np.random.default_rng([seed, index]).normal(size=shape).astype(np.float32) for index in range(4)]
    node = float_node("HamiltonMatrix", list("rijk"), ["matrix"], grouping, grouping=grouping)
    session = FloatSession(model_of(node, [(name, len(shape)) for name in "rijk"], ["matrix"]))
    result = session.run(dict(zip("rijk", parts, strict=True)))["matrix"]
    expected = hamilton_matrix(*(torch.from_numpy(part) for part in parts), grouping=grouping)
    assert np.array_equal(result, expected.numpy())


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("output_grouping", GROUPINGS)
@pytest.mark.parametrize("kernel", [(), (3,), (2, 3)])
def test_hypercomplex_matrix(rng, grouping, output_grouping, kernel):
    # Integers: then sums are exact.
    a, s = rng.integers(-9, 10, (3, 2, 4)), rng.integers(-9, 10, (3, 5, 2, *kernel))
    overload = hypercomplex_overload(grouping, output_grouping)
    orders = {"grouping": grouping, "output_grouping": output_grouping}
    node = float_node("HypercomplexMatrix", ["a", "s"], ["matrix"], overload, **orders)
    session = FloatSession(model_of(node, [("a", 3), ("s", s.ndim)], ["matrix"]))
    found = session.run({"a": a.astype(np.float32), "s": s.astype(np.float32)})["matrix"]
    assert found.shape == (10, 8, *kernel)
    for tap in np.ndindex(*kernel):
        pairs = list(zip(a, s[(slice(None), slice(None), slice(None), *tap)], strict=True))
        whole = sum(np.kron(first, second) for first, second in pairs).reshape(2, 5, 4, 2)
        rows = (0, 1) if output_grouping == "blocked" else (1, 0)
        columns = (2, 3) if grouping == "blocked" else (3, 2)
        expected = whole.transpose(*rows, *columns).reshape(10, 8)
        assert np.array_equal(found[(slice(None), slice(None), *tap)], expected)


@pytest.mark.parametrize(("parts", "order"), [(4, (0, 1, 2)), (1, (0, 1, 3, 2)), (3, (0,))])
def test_gate_rows_are_the_models_own(rng, parts, order):
    torch = pytest.importorskip("torch")
    from qdeploy.models.quaternion_recurrent import order_gate_rows

    node = float_node("GateRows", ["weight"], ["rows"], parts=parts, order=order)
    weight = rng.normal(size=(parts * len(order) * 2, 3)).astype(np.float32)
    found = FloatSession(model_of(node, [("weight", 2)], ["rows"])).run({"weight": weight})["rows"]
    assert np.array_equal(found, order_gate_rows(torch.from_numpy(weight), parts, order).numpy())


@pytest.mark.parametrize("has_h0", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=8, deadline=None)
@given(steps=st.integers(1, 5), batch=st.integers(1, 3), hidden=st.integers(1, 4), size=st.integers(1, 3))
def test_rnn(activation, has_h0, steps, batch, hidden, size):
    rng = np.random.default_rng(1)
    shapes = {
        "x": (steps, batch, size),
        "input_weight": (hidden, size),
        "recurrent_weight": (hidden, hidden),
        "bias": (hidden,),
        "modrelu_bias": (hidden,),
        "h0": (batch, hidden),
    }
    if activation != "modrelu":
        del shapes["modrelu_bias"]
    if not has_h0:
        del shapes["h0"]
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    overload = f"{activation}_h0" if has_h0 else activation
    node = float_node("RNN", list(feeds), ["Y", "Y_h"], overload, activation=activation)
    model = model_of(node, [(name, array.ndim) for name, array in feeds.items()], ["Y", "Y_h"])
    results = FloatSession(model).run(feeds)
    state = feeds.get("h0", np.zeros((batch, hidden)))
    for step in range(steps):
        total = state @ feeds["recurrent_weight"].T + feeds["x"][step] @ feeds["input_weight"].T + feeds["bias"]
        if activation == "modrelu":
            state = np.sign(total) * np.maximum(np.abs(total) + feeds["modrelu_bias"], 0)
        else:
            state = {"relu": np.maximum(total, 0), "tanh": np.tanh(total), "linear": total}[activation]
        np.testing.assert_allclose(results["Y"][step], state, atol=1e-3)
    np.testing.assert_array_equal(results["Y"][-1], results["Y_h"])


def test_layers_of_different_sizes_share_one_function(rng):
    graph = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["": 18, "qdeploy.float": 1]>
        two (float[T, B, 2] x, float[3, 2] u1, float[3, 3] w1, float[3] b1, float[5, 3] u2, float[5, 5] w2, float[5] b2)
            => (float[B, 5] last) {
            states, unused = qdeploy.float.RNN <activation = "relu"> (x, u1, w1, b1)
            states2, last = qdeploy.float.RNN <activation = "relu"> (states, u2, w2, b2)
        }""")
    for node in graph.graph.node:
        node.overload = "relu"
    graph.functions.extend(functions_of(list(graph.graph.node)))
    assert len(graph.functions) == 1
    feeds = {value.name: (4, 2, 2) if value.name == "x" else None for value in graph.graph.input}
    for value in graph.graph.input:
        shape = feeds[value.name] or [one.dim_value for one in value.type.tensor_type.shape.dim]
        feeds[value.name] = rng.normal(size=shape).astype(np.float32)
    assert FloatSession(graph).run(feeds)["last"].shape == (2, 5)
