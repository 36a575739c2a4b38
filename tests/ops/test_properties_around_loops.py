"""The operators that stand around recurrent loops, over random shapes, zero points, shifts, extremes and ties."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, broadcastable_shapes

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node
from .test_properties import LARGEST, attributes_of, defined, filled, many, property_of, requantizations, whole

KINDS = ("uint8", "int16")


@property_of("Mul")
@many
@given(st.data(), *[st.sampled_from(KINDS)] * 3)
def test_mul(data: st.DataObject, a_kind: str, b_kind: str, y_kind: str) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=3, max_side=4))
    chosen = data.draw(requantizations(1, y_kind, positive=True))
    multiplier = data.draw(whole(1, LARGEST, 1 << 14))
    zero_points = [data.draw(whole(0, 255)) if kind == "uint8" else 0 for kind in (a_kind, b_kind)]
    # Next to 1 the other operand alone decides the rounding.
    a = data.draw(filled(a_kind, shape, zero_points[0], zero_points[0] + 1))
    other = data.draw(broadcastable_shapes(shape, min_dims=2, max_dims=len(shape), max_side=4))
    assume(len(np.broadcast_shapes(shape, other)) == len(shape))
    b = data.draw(filled(b_kind, other, zero_points[1], zero_points[1] + 1))
    model = one_node(
        "Mul", {"a": a, "b": b}, {}, ["a", "b"], {"y": y_kind},
        a_zero_point=zero_points[0], b_zero_point=zero_points[1], multiplier=multiplier, **attributes_of(chosen),
    )  # fmt: skip
    product = (a.astype(object) - zero_points[0]) * (b.astype(object) - zero_points[1])
    expected = defined(product, chosen | {"m": np.array([multiplier], object)})
    assert (agreed(model, {"a": a, "b": b})["y"] == expected).all()


def over_time(data: st.DataObject, kind: str) -> tuple[np.ndarray, int]:
    """An activation of random rank, and any of its axes, counted from either end."""
    x = data.draw(filled(kind, data.draw(array_shapes(min_dims=2, max_dims=4, max_side=6)), 0, 1))
    return x, data.draw(st.integers(-x.ndim, x.ndim - 1))


def reduced(operator: str, x: np.ndarray, axis: int) -> np.ndarray:
    """All voices' common result."""
    model = one_node(operator, {"x": x}, {}, ["x"], {"y": x.dtype.name}, axis=axis)
    del model.graph.output[0].type.tensor_type.shape.dim[-1]
    return agreed(model, {"x": x})["y"]


@property_of("TimeMean")
@many
@given(st.data(), st.sampled_from(KINDS))
def test_time_mean(data: st.DataObject, kind: str) -> None:
    """Half up of the rational mean: floor(mean + 1/2)."""
    x, axis = over_time(data, kind)
    columns = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1).T.tolist()
    expected = [(Fraction(sum(column), len(column)) + Fraction(1, 2)).__floor__() for column in columns]
    assert reduced("TimeMean", x, axis).reshape(-1).tolist() == expected


@property_of("TimeMax")
@many
@given(st.data(), st.sampled_from(KINDS))
def test_time_max(data: st.DataObject, kind: str) -> None:
    x, axis = over_time(data, kind)
    columns = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1).T.tolist()
    assert reduced("TimeMax", x, axis).reshape(-1).tolist() == [max(column) for column in columns]


@pytest.mark.parametrize("end", [-(2**15), 2**15 - 1])
def test_the_mean_of_a_long_constant_sequence_is_the_constant(end: int) -> None:
    """Two hundred thousand steps at an end of 16 bits: a sum beyond 32 bits."""
    x = np.full((200_000, 2), end, np.int16)
    assert reduced("TimeMean", x, 0).tolist() == [end, end]


@pytest.mark.parametrize(
    ("operator", "shape", "axis", "message"),
    [
        ("TimeMean", (0, 2), 0, "no steps"),
        ("TimeMax", (0, 2), 0, "no steps"),
        ("TimeMean", (3, 2), 2, "no axis 2"),
        ("TimeMax", (3, 2), -3, "no axis -3"),
    ],
)
def test_what_has_no_steps_is_refused(operator: str, shape: tuple[int, ...], axis: int, message: str) -> None:
    x = np.zeros(shape, np.uint8)
    model = one_node(operator, {"x": x}, {}, ["x"], {"y": "uint8"}, axis=axis)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run({"x": x})


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"multiplier": 0}, "multiplier=0"), ({"a_zero_point": 1}, "a_zero_point=1"), ({"shift": 47}, "shift")],
)
def test_a_product_whose_attributes_no_export_writes_is_refused(changed: dict[str, Any], message: str) -> None:
    x = np.ones((2, 2), np.int16)
    attributes = {"a_zero_point": 0, "b_zero_point": 0, "multiplier": 1, "shift": 1, "y_zero_point": 0}
    attributes |= {"low": 0, "high": 255, "dtype": 2, **changed}
    model = one_node("Mul", {"a": x, "b": x}, {}, ["a", "b"], {"y": "uint8"}, **attributes)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run({"a": x, "b": x})
