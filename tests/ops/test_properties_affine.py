"""What batch normalization leaves behind: factors, matrices and constants of channels, against plain integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from qdeploy.export.onnx import attach_bodies
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node
from .test_properties import LARGEST, attributes_of, defined, filled, many, property_of, requantizations, whole

KINDS = ("uint8", "int16")
ONE = {"m": np.ones(1, object)}


def channels_last(x: np.ndarray, trailing: int) -> np.ndarray:
    """Python integers ``[..., C]``."""
    return np.moveaxis(x.astype(object), x.ndim - 1 - trailing, -1)


@property_of("ChannelAffine")
@many
@given(st.data(), st.sampled_from(KINDS), st.sampled_from(["uint8", "int16", "int32"]), st.integers(0, 3))
def test_channel_affine(data: st.DataObject, x_kind: str, y_kind: str, trailing: int) -> None:
    shape = data.draw(array_shapes(min_dims=trailing + 2, max_dims=trailing + 3, max_side=4))
    channels = shape[len(shape) - 1 - trailing]
    chosen = data.draw(requantizations(1, y_kind))
    x_zero_point = data.draw(whole(0, 255)) if x_kind == "uint8" else 0
    x = data.draw(filled(x_kind, shape, x_zero_point, x_zero_point + 1))
    # Where all is small the body has 32 bits.
    top, most = data.draw(st.sampled_from([(LARGEST, LARGEST), (1 << 14, 1 << 22), (1 << 14, 1 << 29)]))
    multiplier = data.draw(filled("int32", channels, 0, 1, 1 << 14, low=-top, high=top))
    half = min(1 << max(chosen["shift"] - 1, 0), most)
    addend = data.draw(filled("int32", channels, 0, half, -half, low=-most, high=most))
    model = one_node(
        "ChannelAffine", {"x": x}, {"m": multiplier, "a": addend}, ["x", "m", "a"], {"y": y_kind},
        x_zero_point=x_zero_point, trailing=trailing, **attributes_of(chosen),
    )  # fmt: skip
    total = (channels_last(x, trailing) - x_zero_point) * multiplier.astype(object) + addend.astype(object)
    assert (channels_last(agreed(model, {"x": x})["y"], trailing) == defined(total, chosen | ONE)).all()


@property_of("QuaternionAffine")
@many
@given(st.data(), st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(0, 3))
def test_quaternion_affine(data: st.DataObject, x_kind: str, y_kind: str, trailing: int) -> None:
    quaternions = data.draw(st.integers(1, 3))
    sides = data.draw(array_shapes(min_dims=trailing + 1, max_dims=trailing + 2, max_side=3))
    leading = len(sides) - trailing
    shape = (*sides[:leading], 4 * quaternions, *sides[leading:])
    chosen = data.draw(requantizations(1, y_kind))
    x_zero_point = data.draw(whole(0, 255)) if x_kind == "uint8" else 0
    x = data.draw(filled(x_kind, shape, x_zero_point))
    # A row of four products of int16 has room for entries up to 2^14 - 1, and then for a small constant only; where less is
    # used the body has 32 bits.
    top, most = data.draw(st.sampled_from([(2**14 - 1, LARGEST), (2**12, 2**28)]))
    matrix = data.draw(filled("int16", (quaternions, 4, 4), 0, 1, low=-top, high=top))
    reach = int(np.abs(matrix.astype(int)).sum(axis=2).max()) * (255 if x_kind == "uint8" else 2**15)
    room = min(LARGEST - reach, most)
    half = min(1 << max(chosen["shift"] - 1, 0), room)
    addend = data.draw(filled("int32", (4, quaternions), 0, half, -half, low=-room, high=room))
    model = one_node(
        "QuaternionAffine", {"x": x}, {"m": matrix, "a": addend}, ["x", "m", "a"], {"y": y_kind},
        x_zero_point=x_zero_point, trailing=trailing, **attributes_of(chosen),
    )  # fmt: skip
    columns = channels_last(x, trailing) - x_zero_point
    total = np.empty_like(columns)
    for row in range(4):
        for q in range(quaternions):
            products = [int(matrix[q, row, d]) * columns[..., d * quaternions + q] for d in range(4)]
            total[..., row * quaternions + q] = sum(products) + int(addend[row, q])
    assert (channels_last(agreed(model, {"x": x})["y"], trailing) == defined(total, chosen | ONE)).all()


AFFINE: dict[str, Any] = {
    "x_zero_point": 0, "trailing": 0, "shift": 3, "y_zero_point": 0, "low": -(2**15), "high": 2**15 - 1, "dtype": 5,
}  # fmt: skip


def channel(multiplier: list[int], addend: list[int], **changed: int) -> ReferenceModel:
    constants = {"m": np.array(multiplier, np.int32), "a": np.array(addend, np.int32)}
    x = np.zeros((1, 2), np.int16)
    return ReferenceModel(
        one_node("ChannelAffine", {"x": x}, constants, ["x", "m", "a"], {"y": "int16"}, **(AFFINE | changed))
    )


def quaternion(matrix: np.ndarray, addend: np.ndarray, channels: int = 4, **changed: int) -> ReferenceModel:
    constants = {"m": matrix.astype(np.int16), "a": addend.astype(np.int32)}
    x = np.zeros((1, channels), np.int16)
    return ReferenceModel(
        one_node("QuaternionAffine", {"x": x}, constants, ["x", "m", "a"], {"y": "int16"}, **(AFFINE | changed))
    )


@pytest.mark.parametrize("reach", [-1, 0])
@pytest.mark.parametrize("low_end", [False, True])
def test_both_sides_of_the_room_that_32_bits_have(reach: int, low_end: bool) -> None:
    """The largest sum that the narrow body takes, and one more: 2^15 M + A + 2^s = 2^30."""
    addend = 2**30 - 2**15 * 2**14 - 2**10 + reach
    sign = -1 if low_end else 1
    constants = {"m": np.full(2, 2**14, np.int32), "a": np.full(2, sign * addend, np.int32)}
    x = np.array([[-(2**15), 2**15 - 1]], np.int16)
    chosen = AFFINE | {"shift": 10}
    model = one_node("ChannelAffine", {"x": x}, constants, ["x", "m", "a"], {"y": "int16"}, **chosen)
    narrow = attach_bodies(model).graph.node[0].op_type.endswith("narrow")
    assert narrow == (reach < 0)
    total = x.astype(object) * 2**14 + sign * addend
    assert (agreed(model, {"x": x})["y"] == np.clip((total + 2**9) // 2**10, -(2**15), 2**15 - 1)).all()


def test_one_rounding_serves_product_and_constant() -> None:
    """(3 * 3 + 3) / 8 = 1.5 is 2; rounded apart, 9 / 8 and 3 / 8 would be 1 and 0."""
    x = np.array([[3, -3]], np.int16)
    assert channel([3, 3], [3, -3]).run({"x": x}).outputs["y"].tolist() == [[2, -1]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trailing": 4}, "expected 0 to 3"),
        ({"shift": 47}, "expected 0 to 46"),
        ({"x_zero_point": 1}, "none of a int16"),
    ],
)
def test_attributes_outside_the_contract(changed: dict[str, int], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        channel([1, 1], [0, 0], **changed).run({"x": np.zeros((1, 2), np.int16)})
    with pytest.raises(ContractError, match=message):
        quaternion(np.ones((1, 4, 4)), np.zeros((4, 1)), **changed).run({"x": np.zeros((1, 4), np.int16)})


def test_shapes_outside_the_contract() -> None:
    with pytest.raises(ContractError, match=r"multiplier has shape \[3\]; expected \[2\]"):
        channel([1, 1, 1], [0, 0, 0]).run({"x": np.zeros((1, 2), np.int16)})
    with pytest.raises(ContractError, match="expected at least 4 axes"):
        channel([1, 1], [0, 0], trailing=2).run({"x": np.zeros((1, 2), np.int16)})
    with pytest.raises(ContractError, match="6 channels; expected a multiple of 4"):
        quaternion(np.ones((1, 4, 4)), np.zeros((4, 1)), 6).run({"x": np.zeros((1, 6), np.int16)})
    with pytest.raises(ContractError, match=r"matrix has shape \[2, 4, 4\]; expected \[1, 4, 4\]"):
        quaternion(np.ones((2, 4, 4)), np.zeros((4, 1))).run({"x": np.zeros((1, 4), np.int16)})


def test_an_accumulator_that_leaves_32_bits() -> None:
    x = np.full((1, 4), -(2**15), np.int16)
    with pytest.raises(ContractError, match="16384 or more"):
        quaternion(np.full((1, 4, 4), 2**14), np.zeros((4, 1))).run({"x": x})
    full = quaternion(np.full((1, 4, 4), 2**14 - 1), np.full((4, 1), -(2**17)))
    # 4 (2^14 - 1) 2^15 + 2^17 = 2^31: the lowest number of 32 bits.
    assert full.run({"x": x}).outputs["y"].tolist() == [[-(2**15)] * 4]
    with pytest.raises(ContractError, match="outside int32"):
        quaternion(np.full((1, 4, 4), 2**14 - 1), np.full((4, 1), -(2**17) - 1)).run({"x": x})
