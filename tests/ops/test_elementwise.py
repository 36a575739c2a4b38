"""Relu, ModRelu, Table, Requantize, Add: one value at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node

ALL_BYTES = np.arange(256, dtype=np.uint8).reshape(2, 128)
MANY_WORDS = np.concatenate([np.arange(-300, 300), [-(2**15), 2**15 - 1]]).astype(np.int16).reshape(2, -1)


@pytest.mark.parametrize(("x", "zero_point"), [(ALL_BYTES, 0), (ALL_BYTES, 77), (MANY_WORDS, 0)])
def test_relu(x: np.ndarray, zero_point: int) -> None:
    model = one_node("Relu", {"x": x}, {}, ["x"], {"y": x.dtype.name}, zero_point=zero_point)
    assert (agreed(model, {"x": x}, onnx_reference=True)["y"] == np.maximum(x, zero_point)).all()


def test_modrelu_of_nothing_is_nothing_and_it_saturates() -> None:
    bias = {"b": np.array([100, -100, 1, 40000], np.int32)}
    x = np.array([[0, 0, 0, 0], [5, 5, -5, -5], [-150, 150, -(2**15), 3], [2**15 - 1] * 4], np.int16)
    model = one_node("ModRelu", {"x": x}, bias, ["x", "b"], {"y": "int16"})
    expected = [
        [0, 0, 0, 0],
        [105, 0, -6, -(2**15)],
        [-250, 50, -(2**15), 2**15 - 1],
        [2**15 - 1, 32667, 2**15 - 1, 2**15 - 1],
    ]
    assert agreed(model, {"x": x}, onnx_reference=True)["y"].tolist() == expected


@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_table(kind: str) -> None:
    entries = np.random.default_rng(0).permutation(256).astype(kind)
    model = one_node("Table", {"x": ALL_BYTES}, {"t": entries}, ["x", "t"], {"y": kind})
    assert (agreed(model, {"x": ALL_BYTES}, onnx_reference=True)["y"].ravel() == entries).all()


@pytest.mark.parametrize("bits", [1, 9, 12])
@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_table_of_a_signed_index(kind: str, bits: int) -> None:
    half = 2 ** (bits - 1)
    x = np.arange(-half, half).astype(np.int16).reshape(2, -1)
    bounds = np.iinfo(kind)
    entries = np.random.default_rng(0).integers(bounds.min, bounds.max, 2 * half, endpoint=True).astype(kind)
    model = one_node("Table", {"x": x}, {"t": entries}, ["x", "t"], {"y": kind})
    assert (agreed(model, {"x": x}, onnx_reference=True)["y"].ravel() == entries).all()


@pytest.mark.parametrize(
    ("x", "size", "message"),
    [
        (np.array([[4]], np.int16), 8, "x: values reach from 4 to 4; the contract allows -4 to 3"),
        (np.array([[-5]], np.int16), 8, "allows -4 to 3"),
        (np.array([[0]], np.int16), 6, "expected a power of two up to 4096"),
        (np.array([[0]], np.int16), 8192, "expected a power of two up to 4096"),
    ],
)
def test_an_index_outside_its_table_is_refused(x: np.ndarray, size: int, message: str) -> None:
    entries = np.zeros(size, np.uint8)
    model = one_node("Table", {"x": x}, {"t": entries}, ["x", "t"], {"y": "uint8"})
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run({"x": x})


@settings(max_examples=25, deadline=None)
@given(
    multiplier=st.integers(1, 2**31 - 1),
    shift=st.integers(0, 46),
    x_zero_point=st.integers(0, 255),
    y_zero_point=st.integers(0, 255),
)
def test_requantize(multiplier: int, shift: int, x_zero_point: int, y_zero_point: int) -> None:
    model = one_node(
        "Requantize",
        {"x": ALL_BYTES},
        {"m": np.array([multiplier], np.int32)},
        ["x", "m"],
        {"y": "uint8"},
        x_zero_point=x_zero_point,
        shift=shift,
        y_zero_point=y_zero_point,
        low=0,
        high=255,
        dtype=2,
    )
    half = (1 << shift) >> 1
    # Python's integers, floor division: the definition itself.
    expected = [
        min(255, max(0, ((int(x) - x_zero_point) * multiplier + half) // (1 << shift) + y_zero_point))
        for x in ALL_BYTES.ravel()
    ]
    assert agreed(model, {"x": ALL_BYTES})["y"].ravel().tolist() == expected


@settings(max_examples=25, deadline=None)
@given(
    multipliers=st.tuples(st.integers(0, 2**15 - 1), st.integers(0, 2**15 - 1)),
    shift=st.integers(0, 20),
    zero_points=st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
    seed=st.integers(0, 99),
)
def test_add(multipliers: tuple[int, int], shift: int, zero_points: tuple[int, int, int], seed: int) -> None:
    b = np.random.default_rng(seed).permutation(256).astype(np.uint8).reshape(2, 128)
    model = one_node(
        "Add",
        {"a": ALL_BYTES, "b": b},
        {},
        ["a", "b"],
        {"y": "uint8"},
        a_zero_point=zero_points[0],
        b_zero_point=zero_points[1],
        y_zero_point=zero_points[2],
        a_multiplier=multipliers[0],
        b_multiplier=multipliers[1],
        shift=shift,
        low=0,
        high=255,
        dtype=2,
    )
    half = (1 << shift) >> 1
    total = (ALL_BYTES.astype(int) - zero_points[0]) * multipliers[0] + (b.astype(int) - zero_points[1]) * multipliers[
        1
    ]
    expected = np.clip((total + half) // (1 << shift) + zero_points[2], 0, 255)
    assert (agreed(model, {"a": ALL_BYTES, "b": b})["y"] == expected).all()
