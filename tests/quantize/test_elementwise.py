"""Functions of one value in integers: every entry of a table is the nearest integer; rectifiers with slopes are near."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from qdeploy.capture.passes import canonicalize
from qdeploy.quantize import Recipe
from qdeploy.runtime.numeric import dequantize

from .networks import both, float_model, quantized

Array = np.ndarray[Any, Any]
SIX = "six = Constant <value = float {6.0}> () three = Constant <value = float {3.0}> ()"
FUNCTIONS = {
    "silu": "s = Sigmoid (a) y = Mul (a, s)",
    "hardswish, written out": f"{SIX} p = Add (a, three) r = Relu (p) c = Clip (r, , six) m = Mul (a, c) y = Div (m, six)",
    "hardswish": "y = HardSwish (a)",
    "leaky": "y = LeakyRelu <alpha = 0.2> (a)",
    "elu": "y = Elu <alpha = 0.5> (a)",
    "mish": "y = Mish (a)",
    "magnitude": "y = Abs (a)",
}


def captured(nodes: str, **more: Array) -> onnx.ModelProto:
    """A product, whose result leaves the network too and so is of 8 bits, and ``nodes``."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 6)) * 2, **more}
    text = f"g (float[batch, 8] x) => (float[batch, 6] y, float[batch, 6] a) {{ a = MatMul (x, w) {nodes} }}"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items())
    return canonicalize(model).model


def samples() -> Array:
    return np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_entries_are_the_nearest_integers(name: str) -> None:
    """y against the float function of what the integers of a mean: half a step of 16 bits."""
    from qdeploy.capture import FloatSession

    model, x = captured(FUNCTIONS[name]), samples()
    integers = quantized(model, x, Recipe("t", ""))
    assert [node.op_type for node in integers.model.graph.node] == ["Linear", "Table"]
    expected, found, outputs = both(model, integers, x)
    types = integers.graph.types
    a = dequantize(outputs["a"], types["a"].scale, types["a"].zero_point)
    text = f"g (float[batch, 6] a) => (float[batch, 6] y) {{ {FUNCTIONS[name]} }}"
    alone = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    exact = FloatSession(alone).run({"a": a})["y"]
    assert np.abs(found - exact).max() <= 0.5 * types["y"].scale + 1e-5 * np.abs(exact).max()
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_a_rectifier_behind_a_table_is_in_its_entries() -> None:
    model, x = captured("t = Elu (a) y = Relu (t)"), samples()
    integers = quantized(model, x, Recipe("t", ""))
    _, found, _ = both(model, integers, x)
    assert [node.op_type for node in integers.model.graph.node] == ["Linear", "Table"]
    assert found.min() == 0


def test_slopes_of_channels_have_a_multiplier_each() -> None:
    slopes = np.array([0.0, 0.25, -0.5, 1.0, 2.5, 0.01])
    model, x = captured("y = PRelu (a, slopes)", slopes=slopes), samples()
    integers = quantized(model, x, Recipe("t", ""))
    assert [node.op_type for node in integers.model.graph.node] == ["Linear", "PRelu"]
    _, found, outputs = both(model, integers, x)
    types = integers.graph.types
    a = dequantize(outputs["a"], types["a"].scale, types["a"].zero_point)
    exact = np.where(a < 0, a * slopes, a)
    # Multipliers of 15 bits, of which the smallest slope uses seven.
    assert np.abs(found - exact).max() <= 0.5 * types["y"].scale + np.abs(a).max() * 2.0**-14


@pytest.mark.parametrize(("function", "operator"), [("LeakyRelu <alpha = 0.2>", "PRelu"), ("Softsign", "Table")])
def test_wide_states(function: str, operator: str) -> None:
    """States of 12 bits: a leaky rectifier keeps them, another function has 4096 entries."""
    rng = np.random.default_rng(2)
    text = f"""
    g (float[time, batch, 3] x) => (float[batch, 12] y)
    {{
      states, last = qdeploy.float.RNN <activation = "linear"> (x, u, w, b)
      y = {function} (last)
    }}"""
    weights = {
        "u": rng.normal(size=(12, 3)),
        "w": 0.9 * np.eye(12)[np.roll(np.arange(12), 1)],
        "b": rng.normal(size=12),
    }
    model = float_model(text, weights)
    x = rng.normal(size=(10, 30, 3)).astype(np.float32)
    integers = quantized(model, x, Recipe("t", ""), batch_axis=1)
    assert operator in [node.op_type for node in integers.model.graph.node]
    expected, found, _ = both(model, integers, x, batch_axis=1)
    # Weights of 8 bits, and near zero a function that is steep where states are small.
    assert np.abs(found - expected).max() < 0.06 * np.abs(expected).max()
