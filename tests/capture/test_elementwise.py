"""Functions of one value: what operators compute, and chains of them that become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from qdeploy.capture import FloatSession, capture
from qdeploy.capture.elementwise import ELEMENTWISE_OPERATORS, TABLES, evaluate
from qdeploy.capture.passes import canonicalize

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
POINTS = np.concatenate([np.linspace(-9, 9, 181), [0.5, -0.5, 100, -100]]).astype(np.float32)
BOOLEANS = {
    "And": "g = Greater (x, a) l = Less (x, b) w = And (g, l) y = Where (w, x, b)",
    "Or": "g = Greater (x, b) l = Less (x, a) w = Or (g, l) y = Where (w, x, b)",
    "Not": "g = GreaterOrEqual (x, a) w = Not (g) y = Where (w, x, b)",
    "Equal": "w = Equal (x, a) y = Where (w, b, x)",
    "LessOrEqual": "w = LessOrEqual (x, a) y = Where (w, b, x)",
}
BINARY = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Clip"}
COMPARISONS = {"Greater", "GreaterOrEqual", "Less", "Where"}


def texts() -> dict[str, str]:
    """Nodes that make y of x and the numbers a = -1 and b = 2, for every operator."""
    found = {
        name: f"y = {name} (x)" for name in sorted(ELEMENTWISE_OPERATORS - BINARY - COMPARISONS) if name not in BOOLEANS
    }
    found |= {name: f"y = {name} (x, {'a, b' if name == 'Clip' else 'b'})" for name in sorted(BINARY)}
    found |= BOOLEANS
    found |= {
        f"{name}, alpha": f"y = {name} <alpha = 0.3> (x)"
        for name in ("LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu")
    }
    found["HardSigmoid, alpha, beta"] = "y = HardSigmoid <alpha = 0.3, beta = 0.6> (x)"
    found["Selu, gamma"] = "y = Selu <gamma = 0.7> (x)"
    return found


@pytest.mark.parametrize("name", texts())
def test_every_operator_is_what_onnxruntime_computes(name: str) -> None:
    body = f"a = Constant <value = float {{-1.0}}> () b = Constant <value = float {{2.0}}> () {texts()[name]}"
    model = onnx.parser.parse_model(f"{HEAD} g (float[N] x) => (float[N] y) {{ {body} }}")
    expected = FloatSession(model).run({"x": POINTS})["y"]
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    found = evaluate(nodes, {"x": POINTS, "a": np.array(-1.0), "b": np.array(2.0)}, "y")
    assert found.dtype == np.float64
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2e-5, atol=2e-6)


def operators(nodes: str, **constants: np.ndarray) -> list[str]:
    """Of the layer form, of a network with a product in front."""
    text = f"{HEAD} g (float[B, 4] x, float[B, 4] z) => (float[B, 4] y) {{ h = MatMul (x, w) {nodes} }}"
    model = onnx.parser.parse_model(text)
    constants = {
        "w": np.eye(4),
        "one": np.array(1.0),
        "half": np.array([0.5]),
        "three": np.array([[3.0]]),
        "six": np.array(6.0),
        **constants,
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in constants.items())
    captured = canonicalize(model)
    session = FloatSession(captured.model)
    feeds = {
        name: np.random.default_rng(index).normal(size=(5, 4)).astype(np.float32) * 4 for index, name in enumerate("xz")
    }
    expected = FloatSession(model).run(feeds)["y"]
    feeds = {value.name: feeds[value.name] for value in captured.model.graph.input}
    np.testing.assert_allclose(session.run(feeds)["y"], expected, rtol=1e-5, atol=1e-5)
    return [node.op_type for node in captured.model.graph.node]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("s = Sigmoid (h) y = Mul (h, s)", ["Linear", "Elementwise"]),
        (
            "a = Add (h, three) c = Clip (a, , six) r = Relu (c) m = Mul (h, r) y = Div (m, six)",
            ["Linear", "Elementwise"],
        ),
        ("e = Erf (h) p = Add (e, one) q = Mul (h, p) y = Mul (q, half)", ["Linear", "Elementwise"]),
        # A rectifier at the root belongs to the layer before.
        ("r = Relu (h) s = Sigmoid (r) y = Mul (r, s)", ["Linear", "Relu", "Elementwise"]),
        # Of two activations each gets its own.
        ("s = Sigmoid (h) y = Mul (z, s)", ["Linear", "Sigmoid", "Mul"]),
        (
            "s = Softplus (h) t = Tanh (s) m = Mul (h, t) u = Tanh (z) y = Add (m, u)",
            ["Linear", "Elementwise", "Tanh", "Add"],
        ),
        # Two results of one tree are functions of the root each.
        (
            "t = Tanh (h) s = Sigmoid (t) m = Mul (s, t) n = Mul (m, z) y = Add (n, t)",
            ["Linear", "Tanh", "Elementwise", "Mul", "Add"],
        ),
        # One operator stays, and so do bounds behind each other.
        ("y = Elu (h)", ["Linear", "Elu"]),
        ("c = Clip (h, , six) y = Relu (c)", ["Linear", "Clip", "Relu"]),
        # Numbers of their own for each unit are none of one value.
        ("s = Sigmoid (h) y = PRelu (s, slopes)", ["Linear", "Sigmoid", "PRelu"]),
    ],
)
def test_trees_over_one_value_become_one_function(nodes: str, expected: list[str]) -> None:
    assert operators(nodes, slopes=np.array([0.1, 0.2, -0.3, 2.0])) == expected


def test_a_captured_file_is_captured_again(tmp_path: Any) -> None:
    """Functions that were made for one model are taken apart and made again; layers stay layers."""
    text = f"{HEAD} g (float[B, 4] x) => (float[B, 4] y) {{ h = MatMul (x, w) s = Sigmoid (h) y = Mul (h, s) }}"
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"))
    onnx.save(model, tmp_path / "first.onnx")
    samples = {"x": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}
    first = capture(tmp_path / "first.onnx", samples)
    onnx.save(first.model, tmp_path / "second.onnx")
    second = capture(tmp_path / "second.onnx", samples)
    assert [node.op_type for node in second.model.graph.node] == ["Linear", "Elementwise"]
    assert len(second.model.functions) == 2


def test_every_table_is_known() -> None:
    assert set(TABLES) <= ELEMENTWISE_OPERATORS
