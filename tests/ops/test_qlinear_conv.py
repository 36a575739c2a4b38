"""QLinearConv: single precision that is exact, ties to even, and what keeps it from being exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.export.onnx import attach_bodies
from qdeploy.runtime.errors import ContractError, UnsupportedModelError
from qdeploy.runtime.ops.qlinear_conv import pairs_fit_16_bits
from qdeploy.runtime.reference import ReferenceModel

from . import definitions
from .agreement import agreed, one_node
from .test_properties import many, property_of, whole


def layer(x: Any, w: Any, *, b: Any = None, m: Any = (1,), **changed: Any) -> Any:
    """A model of one QLinearConv node."""
    rank = w.ndim - 2
    attributes: dict[str, Any] = {
        "strides": [1] * rank, "pads": [0] * (2 * rank), "dilations": [1] * rank, "group": 1, "x_zero_point": 0,
        "shift": 0, "y_zero_point": 0, "low": 0, "high": 255, "dtype": 2, "rounding": "half_even",
    }  # fmt: skip
    bias = np.zeros(w.shape[0], np.int32) if b is None else np.array(b, np.int32)
    constants = {"w": np.asarray(w, np.int8), "b": bias, "m": np.array(m, np.int32)}
    return one_node("QLinearConv", {"x": x}, constants, ["x", "w", "b", "m"], {"y": "uint8"}, **attributes | changed)


def test_ties_go_to_the_even_neighbour() -> None:
    """Halves of 1 to 8, around a zero point of 10: 0.5 to 0, 1.5 to 2, 2.5 to 2, also below zero."""
    x = np.arange(1, 9, dtype=np.uint8).reshape(1, 1, 8)
    for sign, expected in ((1, [0, 1, 2, 2, 2, 3, 4, 4]), (-1, [0, -1, -2, -2, -2, -3, -4, -4])):
        model = layer(x, np.array([[[sign]]]), shift=1, y_zero_point=10)
        found = agreed(model, {"x": x}, inlined=True, qlinear=True)["y"].reshape(-1)
        assert (found == np.array(expected) + 10).all()


def test_one_multiplier_for_each_output_and_bounds() -> None:
    x = np.array([[[40, 60]]], np.uint8)
    model = layer(x, np.array([[[1]], [[1]]]), m=[1, 12], b=[0, 4], shift=3, low=7, high=80)
    assert agreed(model, {"x": x}, qlinear=True)["y"].tolist() == [[[7, 8], [66, 80]]]


def test_the_largest_accumulators_that_single_precision_holds() -> None:
    """2^24 - 1 times one, and half of that times three: neither loses a bit, one more does."""
    x = np.zeros((1, 1, 1), np.uint8)
    for bias, multiplier in (((1 << 24) - 1, 1), (5592405, 3), (-(1 << 24) + 1, 4)):
        model = layer(x, np.array([[[0]]]), b=[bias], m=[multiplier], shift=20, y_zero_point=128)
        expected = round(bias * multiplier / 2**20) + 128
        assert agreed(model, {"x": x}, qlinear=True)["y"].item() == min(255, max(0, expected))


@property_of("QLinearConv")
@many
@given(st.data(), st.integers(1, 3))
def test_qlinear_conv(data: st.DataObject, rank: int) -> None:
    """Over windows, zero points, groups, bounds, multipliers of few bits times powers of two, and ties."""
    group = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, outputs = group * data.draw(whole(1, 3)), group * data.draw(whole(1, 3))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(rank)]
    windows = {
        "strides": [data.draw(st.integers(1, 3)) for _ in range(rank)],
        "pads": [data.draw(st.integers(0, 2)) for _ in range(2 * rank)],
        "dilations": [data.draw(st.integers(1, 2)) for _ in range(rank)],
    }
    sizes = [windows["dilations"][axis] * (kernel[axis] - 1) + data.draw(st.integers(1, 3)) for axis in range(rank)]
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = generator.choice([0, 1, 127, 128, 254, 255], (data.draw(st.integers(1, 2)), channels, *sizes)).astype(np.uint8)
    w = generator.choice([-64, -63, -1, 0, 1, 63, 64], (outputs, channels // group, *kernel)).astype(np.int8)
    shift = data.draw(whole(0, 46))
    odd = data.draw(st.sampled_from([1, 1, 3, 7]))
    m = odd << generator.integers(0, 28, data.draw(st.sampled_from([1, outputs])))
    room = (2**24 - 1) // odd - int(np.abs(w.astype(int)).reshape(outputs, -1).sum(axis=1).max()) * 255
    b = generator.choice([0, 1, -1, 1 << 12, -(1 << 12), room, -room], outputs)
    x_zero_point, y_zero_point = data.draw(whole(0, 255)), data.draw(whole(0, 255))
    low = data.draw(st.one_of(st.just(0), st.just(y_zero_point), whole(0, 255)))
    high = data.draw(st.one_of(st.just(255), whole(low, 255)))
    model = layer(x, w, b=b, m=m, group=group, **windows, x_zero_point=x_zero_point, shift=shift,
                  y_zero_point=y_zero_point, low=low, high=high)  # fmt: skip
    accumulator = definitions.convolved(x, w, **windows, group=group, x_zero_point=x_zero_point)
    accumulator = np.moveaxis(accumulator, 1, -1) + b.astype(object)
    expected = np.moveaxis(definitions.half_even(accumulator, m, shift, y_zero_point, low, high), -1, 1)
    assert (agreed(model, {"x": x}, qlinear=True)["y"] == expected).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rounding": "half_up"}, "rounding is 'half_up'; expected 'half_even'"),
        ({"dtype": 5}, "dtype=5; expected 2"),
        ({"m": [0]}, "could reach 0; expected positive multipliers"),
        ({"m": [-1]}, "expected positive multipliers"),
        ({"b": [1 << 24]}, r"could reach 16777\d+; expected .* less than 2\^24"),
        ({"m": [(1 << 24) + 1]}, r"less than 2\^24"),
        ({"m": [1, 1]}, r"multiplier has shape \[2\]"),
    ],
)
def test_what_single_precision_does_not_hold_is_an_error(changed: dict[str, Any], message: str) -> None:
    x = np.zeros((1, 2, 3), np.uint8)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(layer(x, np.ones((1, 2, 1)), **changed)).run({"x": x})


@pytest.mark.parametrize(
    ("weights", "fits"),
    [
        ([64, 64], True),
        ([65, 64], False),
        ([-64, -64], True),
        ([-65, -64], False),
        ([127, 1, -127], True),
        ([-128], False),
    ],
)
def test_pairs_of_weights_that_leave_16_bits(weights: list[int], fits: bool) -> None:
    x = np.zeros((1, len(weights), 1), np.uint8)
    w = np.array(weights, np.int8).reshape(1, -1, 1)
    assert pairs_fit_16_bits(w) == fits
    model = layer(x, w)
    if fits:
        agreed(model, {"x": x}, qlinear=True)
        return
    with pytest.raises(ContractError, match="leave 16 bits"):
        ReferenceModel(model).run({"x": x})
    with pytest.raises(UnsupportedModelError, match=r"node node: products of two weights .*--recipe w7a8"):
        attach_bodies(model)
