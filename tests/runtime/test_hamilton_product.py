"""Eight multiplications give the integers of sixteen: against quaternions in Python's integers, and through Linear."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qdeploy.runtime import exact_product
from qdeploy.runtime.exact_product import ExactProduct, eight_products_are_faster
from qdeploy.runtime.hamilton_product import HamiltonProduct, components_of
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.reference import ReferenceModel

from ..ops.agreement import agreed
from ..ops.definitions import hamilton_product

Array = NDArray[Any]


def matrix(parts: Array, grouping: str = "blocked") -> Array:
    """L(w) of components ``[4, N/4, K/4]``."""
    return OPERATORS["HamiltonMatrix"].meaning(Node("matrix"), *parts, grouping=grouping)[0]


def by_quaternions(parts: Array, rows: Array, grouping: str) -> Array:
    """Every output quaternion as a sum of products of quaternions."""
    _, outputs, quaternions = parts.shape
    result = np.zeros((len(rows), 4, outputs), object)
    for index, row in enumerate(rows):
        inputs = row.reshape(4, quaternions).T if grouping == "blocked" else row.reshape(quaternions, 4)
        for output in range(outputs):
            for place in range(quaternions):
                result[index, :, output] += hamilton_product(parts[:, output, place], inputs[place])
    return result.reshape(len(rows), -1)


def needs_a_wider_type(parts: Array, low: int, high: int) -> bool:
    """Whether sixteen products stay below 2^24, where float32 is exact, while one of the eight may not."""
    w, x, y, z = parts.astype(object)
    largest = max(abs(low), abs(high))
    whole = int(np.abs(parts.astype(np.int64)).sum(axis=(0, 2)).max()) * largest
    sums = (w + x, w - x, y + z, w + y, w - y, x + z, x - z, z - y)
    reach = max(int(abs(row).sum()) for factor in sums for row in factor) * max(2 * largest, high - low)
    return whole < 2**24 <= reach


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.integers(1, 8),
    st.sampled_from(["blocked", "adjacent"]),
    st.sampled_from([(0, 255), (-255, 0), (-128, 127), (-3, 252), (-(2**15), 2**15 - 1)]),
)
def test_any_quaternions(data: st.DataObject, bits: int, grouping: str, bounds: tuple[int, int]) -> None:
    outputs, quaternions, count = (data.draw(st.integers(1, 3)) for _ in range(3))
    top, (low, high) = max(1, 2 ** (bits - 1) - 1), bounds
    weights = st.one_of(st.sampled_from([-top, 0, top]), st.integers(-top, top))
    values = st.one_of(st.sampled_from([low, 0, high]), st.integers(low, high))
    drawn = data.draw(st.lists(weights, min_size=4 * outputs * quaternions, max_size=4 * outputs * quaternions))
    parts = np.array(drawn, np.int8).reshape(4, outputs, quaternions)
    drawn = data.draw(st.lists(values, min_size=4 * count * quaternions, max_size=4 * count * quaternions))
    rows = np.array(drawn, np.int32).reshape(count, 4 * quaternions)
    product = HamiltonProduct.of(matrix(parts, grouping), low, high)
    if product is None:
        assert needs_a_wider_type(parts, low, high)
        return
    found = product(rows)
    assert found.dtype == np.int64
    assert (found == by_quaternions(parts, rows, grouping)).all()


@pytest.mark.parametrize("top", [63, 127])
@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_extremes_in_every_combination_of_signs(top: int, zero_point: int) -> None:
    """All weights at a bound, all inputs at a bound: every pre-sum and every product reaches its own."""
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, 16, 1)
    parts = np.repeat(top * signs, 64, axis=2).astype(np.int8)
    weight = matrix(parts)
    ends = np.array(np.meshgrid(*[[-zero_point, 255 - zero_point]] * 4)).reshape(4, 16).T
    rows = np.repeat(ends, 64, axis=1).astype(np.int32)
    product = HamiltonProduct.of(weight, -zero_point, 255 - zero_point)
    assert product is not None
    assert (product(rows) == rows.astype(np.int64) @ weight.T.astype(np.int64)).all()


def test_the_type_is_the_whole_products_or_none() -> None:
    """2^24 parts float32 from float64; a factor that needs the wider type alone would not pay."""
    unit = np.array([1, 1, 0, 0])[:, None, None] * np.ones((4, 1, 1), np.int64)
    fits = np.repeat(127 * unit, 258, axis=2).astype(np.int8)
    assert 2 * 127 * 258 * 255 < 2**24 < 4 * 127 * 258 * 255
    # w + x is as large as the whole row, and its inputs' sums twice as large as the inputs.
    assert HamiltonProduct.of(matrix(fits), 0, 255) is None
    spread = np.repeat(127 * np.ones((4, 1, 1), np.int64), 129, axis=2).astype(np.int8)
    assert 4 * 127 * 129 * 255 < 2**24
    largest = HamiltonProduct.of(matrix(spread), 0, 255)
    assert largest is not None
    assert largest.factors.dtype == np.float32
    beyond = HamiltonProduct.of(matrix(np.concatenate([spread, spread[:, :, :2]], axis=2)), 0, 255)
    assert beyond is not None
    assert beyond.factors.dtype == np.float64
    for product in (largest, beyond):
        # Odd sums, so that halves appear.
        rows = np.full((2, 4 * product.factors.shape[1]), 255, np.int32)
        rows[1, ::3] = 254
        parts = np.repeat(np.full((4, 1, 1), 127), product.factors.shape[1], axis=2)
        assert (product(rows) == rows.astype(np.int64) @ matrix(parts.astype(np.int8)).T.astype(np.int64)).all()


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
def test_components_are_found_by_their_numbers(grouping: str) -> None:
    generator = np.random.default_rng(3)
    parts = generator.integers(-127, 128, (4, 3, 5)).astype(np.int8)
    weight = matrix(parts, grouping)
    found = components_of(weight)
    assert found is not None
    assert found[1] == grouping
    assert (found[0] == parts).all()
    for row, column in [(0, 0), (4, 7), (11, 19), (2, 19)]:
        changed = weight.copy()
        changed[row, column] ^= 1
        assert components_of(changed) is None


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (0, 4), (4, 0)])
def test_other_matrices_hold_no_quaternions(shape: tuple[int, int]) -> None:
    assert components_of(np.zeros(shape, np.int8)) is None


def test_minus_128_has_no_negative() -> None:
    assert components_of(np.full((4, 4), -128, np.int8)) is None


def test_the_rule_wants_large_matrices_and_narrow_ones_for_few_rows_only() -> None:
    assert not eight_products_are_faster(64, 512, 512)
    assert eight_products_are_faster(1, 1024, 1024)
    assert eight_products_are_faster(1000, 1024, 1024)
    assert eight_products_are_faster(16, 256, 16384)
    assert not eight_products_are_faster(64, 256, 16384)
    assert not eight_products_are_faster(1, 64, 16384)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every call of a HamiltonProduct."""
    calls: list[int] = []
    multiply = HamiltonProduct.__call__

    def count(product: HamiltonProduct, rows: Array) -> Array:
        calls.append(len(rows))
        return multiply(product, rows)

    monkeypatch.setattr(HamiltonProduct, "__call__", count)
    return calls


def quaternion_layer(parts: Array, grouping: str, x_zero_point: int) -> onnx.ModelProto:
    """HamiltonMatrix and the Linear that reads it, its accumulators as int32."""
    _, outputs, quaternions = parts.shape
    constants = dict(zip("rijk", parts, strict=True))
    constants |= {"b": np.arange(4 * outputs, dtype=np.int32), "m": np.ones(1, np.int32)}
    nodes = [
        onnx.helper.make_node("HamiltonMatrix", list("rijk"), ["w"], "matrix", domain="qdeploy", grouping=grouping),
        onnx.helper.make_node(
            "Linear", ["x", "w", "b", "m"], ["y"], "layer", domain="qdeploy",
            x_zero_point=x_zero_point, shift=0, y_zero_point=0, low=-(2**31), high=2**31 - 1, dtype=6,
        ),
    ]  # fmt: skip
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "test",
        [value("x", onnx.TensorProto.UINT8, ["n", 4 * quaternions])],
        [value("y", onnx.TensorProto.INT32, ["n", 4 * outputs])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("qdeploy", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets)


@pytest.mark.parametrize("grouping", ["blocked", "adjacent"])
@pytest.mark.parametrize("top", [63, 127])
def test_a_layer_computes_the_same_either_way(
    monkeypatch: pytest.MonkeyPatch, counted: list[int], grouping: str, top: int
) -> None:
    generator = np.random.default_rng(top)
    model = quaternion_layer(generator.integers(-top, top + 1, (4, 5, 7)).astype(np.int8), grouping, 100)
    x = generator.integers(0, 256, (600, 28)).astype(np.uint8)
    whole = agreed(model, {"x": x})["y"]
    assert not counted
    monkeypatch.setattr(exact_product, "eight_products_are_faster", lambda rows, outputs, inputs: True)
    assert (ReferenceModel(model).run({"x": x}).outputs["y"] == whole).all()
    singles = ReferenceModel(model)
    assert all((singles.run({"x": x[n : n + 1]}).outputs["y"] == whole[n]).all() for n in range(3))
    assert counted == [600, 1, 1, 1]


def test_a_large_layer_takes_eight_products_by_itself(counted: list[int]) -> None:
    generator = np.random.default_rng(0)
    parts = generator.integers(-63, 64, (4, 192, 192)).astype(np.int8)
    rows = generator.integers(-128, 128, (3, 2, 768)).astype(np.int32)
    product = ExactProduct(matrix(parts), -128, 127)
    assert (product(rows) == rows.astype(np.int64) @ matrix(parts).T.astype(np.int64)).all()
    assert counted == [6]
    real = ExactProduct(generator.integers(-63, 64, (768, 768)).astype(np.int8), -128, 127)
    assert (real(rows) == rows.astype(np.int64) @ real.weight.T.astype(np.int64)).all()
    assert counted == [6]
