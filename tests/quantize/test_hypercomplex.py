"""Weights over an algebra: what is exact is exact, and what is rounded errs little more than the real matrix would."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.export.onnx import attach_bodies
from qdeploy.quantize import load_recipe
from qdeploy.quantize.hypercomplex import Ends, quantize_algebra
from qdeploy.quantize.tensor_type import activation_type
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.reference import ReferenceModel

from .networks import both, float_model, quantized

DEFAULT = load_recipe("default")
NETWORK = """
g (float[batch, 32] x) => (float[batch, 24] y)
{
  m = qdeploy.float.HypercomplexMatrix <grouping = "%s", output_grouping = "%s"> (a, s)
  y = qdeploy.float.Linear (x, m%s)
}"""
HAMILTON = """
g (float[batch, 32] x) => (float[batch, 24] y)
{
  m = qdeploy.float.HamiltonMatrix <grouping = "%s"> (r, i, j, k)
  y = qdeploy.float.Linear (x, m, b)
}"""
ORDERS = [("blocked", "blocked"), ("adjacent", "blocked"), ("blocked", "adjacent"), ("adjacent", "adjacent")]
RECIPES: tuple[dict[str, Any], ...] = (
    {},
    {"multiplier_bits": 31},
    {"multiplier_bits": 1},
    {"weight_bits": 4},
    {"weight_bits": 7, "product_multiplier_bits": 8},
    {"weight_granularity": "per_tensor"},
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def hamilton_algebra() -> np.ndarray:
    """From i i = j j = k k = i j k = -1: column u of matrix i is the product of unit i and unit u."""
    units = {(0, 0): (1, 0), (1, 2): (1, 3), (2, 3): (1, 1), (3, 1): (1, 2)}
    units |= {(second, first): (-sign, unit) for (first, second), (sign, unit) in units.items() if first}
    units |= (
        {(n, n): (-1, 0) for n in (1, 2, 3)} | {(0, n): (1, n) for n in range(4)} | {(n, 0): (1, n) for n in range(4)}
    )
    algebra = np.zeros((4, 4, 4), np.float32)
    for (first, second), (sign, unit) in units.items():
        algebra[first, unit, second] = sign
    return algebra


def rotation_algebra() -> np.ndarray:
    """Nine entries, and nothing of the real part."""
    algebra = np.zeros((9, 4, 4), np.float32)
    for entry in range(9):
        algebra[entry, 1 + entry // 3, 1 + entry % 3] = 1
    return algebra


def exported(a: np.ndarray, s: np.ndarray, orders: tuple[str, str], **changed: Any) -> tuple[dict[str, Any], float]:
    """The layer's record and the relative error of its outputs; every runtime agrees on the integers."""
    weights = {"a": a, "s": s, "b": normal(24, seed=1)}
    model, x = float_model(NETWORK % (*orders, ", b"), weights), normal(64, 32, seed=2)
    integers = quantized(model, x, DEFAULT.changed(**changed))
    assert [node.op_type for node in integers.model.graph.node if "Matrix" in node.op_type] == ["HypercomplexMatrix"]
    real, found, _ = both(model, integers, x)
    return integers.graph.layers[0], float(np.sqrt(np.square(real - found).mean() / np.square(real).mean()))


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("orders", ORDERS)
def test_a_learned_algebra(orders: tuple[str, str], recipe: dict[str, Any]) -> None:
    record, error = exported(normal(4, 4, 4), normal(4, 6, 8, seed=3), orders, **recipe)
    assert record["hypercomplex"] == [4, 4, 4]
    assert not record["hypercomplex_copied"]
    assert record["parameters"] == 64 + 192
    # s and the matrix are rounded, where the real matrix would be rounded once.
    assert 0 < record["matrix_error"] <= 1.8 * record["direct_error"]
    assert error <= record["matrix_error"] + 0.015


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("orders", ORDERS)
@pytest.mark.parametrize("algebra", [hamilton_algebra(), rotation_algebra()], ids=["quaternion", "rotation"])
def test_an_algebra_that_copies(algebra: np.ndarray, orders: tuple[str, str], recipe: dict[str, Any]) -> None:
    record, error = exported(algebra, normal(len(algebra), 6, 8, seed=3), orders, **recipe)
    assert record["hypercomplex_copied"]
    assert record["parameters"] == len(algebra) * 48
    assert record["matrix_error"] <= 1.2 * record["direct_error"]
    assert error <= record["matrix_error"] + 0.015


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_quaternions_are_the_integers_of_the_hamilton_matrix(grouping: str, gain: float) -> None:
    s, b, x = normal(4, 6, 8), normal(24, seed=1), normal(64, 32, seed=2)
    weights = {"a": gain * hamilton_algebra(), "s": s / np.float32(gain), "b": b}
    model = float_model(NETWORK % (grouping, "blocked", ", b"), weights)
    quaternions = float_model(HAMILTON % grouping, {**dict(zip("rijk", s, strict=True)), "b": b})
    outputs = []
    for one in (model, quaternions):
        integers = quantized(one, x, DEFAULT)
        outputs.append(both(one, integers, x)[2]["y"])
        (multiplier,) = [
            onnx.numpy_helper.to_array(t) for t in integers.model.graph.initializer if "multiplier" in t.name
        ]
        # 18 numbers take fewer bytes than the node that would repeat 6.
        assert (multiplier.reshape(4, 6) == multiplier[:6]).all()
    if gain == 1.0:
        assert (outputs[0] == outputs[1]).all()
    else:
        # s / 3 * 3 is not always s, in float.
        assert np.abs(outputs[0].astype(int) - outputs[1]).max() <= 40


def test_components_on_a_grid_stay_there() -> None:
    s = np.random.default_rng(0).integers(-7, 8, (4, 6, 8)).astype(np.float32) / 8
    record, _ = exported(hamilton_algebra(), s, ("blocked", "blocked"))
    assert (record["exact_grid"], record["weight_bits"], record["matrix_error"]) == (True, 4, 0.0)


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("algebra", [normal(4, 4, 4), hamilton_algebra()], ids=["learned", "quaternion"])
@pytest.mark.parametrize("size", [1e-4, 1e-9, 0.0])
def test_dead_outputs_keep_their_bias(algebra: np.ndarray, size: float, recipe: dict[str, Any]) -> None:
    s, b, x = normal(4, 6, 8, seed=3), np.zeros(24, np.float32), normal(64, 32, seed=2)
    s[:, 2] *= np.float32(size)
    b[8] = 1.5
    model = float_model(NETWORK % ("blocked", "blocked", ", b"), {"a": algebra, "s": s, "b": b})
    real, found, _ = both(model, quantized(model, x, DEFAULT.changed(**recipe)), x)
    assert np.abs(found[:, 8] - 1.5).max() <= 0.02 * np.abs(real).max()


@pytest.mark.parametrize("algebra", [normal(4, 4, 4), hamilton_algebra()], ids=["learned", "quaternion"])
@pytest.mark.parametrize("which", ["a", "s"])
def test_without_weights_the_bias_remains(algebra: np.ndarray, which: str) -> None:
    weights = {"a": algebra, "s": normal(4, 6, 8), "b": normal(24, seed=1)}
    weights[which] = np.zeros_like(weights[which])
    model, x = float_model(NETWORK % ("blocked", "blocked", ", b"), weights), normal(64, 32, seed=2)
    real, found, _ = both(model, quantized(model, x, DEFAULT), x)
    assert np.abs(real - found).max() <= 0.01 * np.abs(real).max()


def test_expanded_storage_computes_the_same_bits() -> None:
    model = float_model(NETWORK % ("blocked", "adjacent", ""), {"a": normal(4, 4, 4), "s": normal(4, 6, 8)})
    x = normal(64, 32, seed=2)
    outputs = []
    for storage in ("compact", "expanded"):
        integers = quantized(model, x, DEFAULT, storage=storage)
        feed = np.random.default_rng(0).integers(0, 256, (9, 32)).astype(np.uint8)
        outputs.append(ReferenceModel(attach_bodies(integers.model)).run({"x": feed}).outputs["y"])
    assert (outputs[0] == outputs[1]).all()


def test_a_large_algebra_of_few_components_is_stored_as_its_matrix() -> None:
    model = float_model(NETWORK % ("blocked", "blocked", ""), {"a": normal(8, 8, 8), "s": normal(8, 3, 4)})
    x = normal(64, 32, seed=2)
    integers = quantized(model, x, DEFAULT)
    assert [node.op_type for node in integers.model.graph.node] == ["Linear"]
    both(model, integers, x)


@pytest.mark.parametrize(("bits", "top"), [(8, 127), (7, 63), (4, 127)])
def test_matrices_of_seven_bits_for_products_that_saturate_nowhere(bits: int, top: int) -> None:
    a, s = normal(4, 4, 4), normal(4, 6, 8, seed=3)
    byte = activation_type(-1.0, 1.0, 8)
    found = quantize_algebra(a, s, DEFAULT.changed(weight_bits=bits), Ends(byte, byte, None))
    inputs = (found.algebra, found.components.integers.reshape(s.shape), found.factors.reshape(-1))
    orders = {"grouping": "blocked", "output_grouping": "blocked"}
    (matrix,) = OPERATORS["HypercomplexMatrix"].meaning(Node("m"), *inputs, shift=found.shift, **orders)
    assert (np.abs(matrix.astype(int)).max(axis=1) == top).all()
