"""What stands between convolutions, over random shapes, windows, zero points, extremes and ties."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node
from .test_properties import LARGEST, attributes_of, defined, filled, many, property_of, requantizations, whole

KINDS = ("uint8", "int16")
Window = dict[str, list[int]]

some = settings(many, max_examples=40)
"""Every example is a model of its own, with slow definitions."""


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, ...], Window]:
    """A shape [B, C, *S] and a window over one to three axes that fits it, each with a place inside of the image."""
    rank = draw(st.integers(1, 3))

    def numbers(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel, strides, dilations = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    begins = [draw(st.integers(0, size - 1)) for size in kernel]
    ends = [draw(st.integers(0, size - 1)) for size in kernel]
    # Padded or not, one window fits, and its first place is inside.
    sizes = [d * (k - 1) + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilations, strict=True)]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *sizes)
    return shape, {"kernel": kernel, "strides": strides, "pads": begins + ends, "dilations": dilations}


def places(shape: tuple[int, ...], window: Window) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """By position of the result, the places that its window has, those outside of the image too."""
    rank = len(window["kernel"])
    spans = [d * (k - 1) + 1 for k, d in zip(window["kernel"], window["dilations"], strict=True)]
    found = {}
    out = [
        (shape[2 + a] + window["pads"][a] + window["pads"][rank + a] - spans[a]) // window["strides"][a] + 1
        for a in range(rank)
    ]
    for position in itertools.product(*map(range, out)):
        found[position] = [
            tuple(
                position[a] * window["strides"][a] + tap[a] * window["dilations"][a] - window["pads"][a]
                for a in range(rank)
            )
            for tap in itertools.product(*map(range, window["kernel"]))
        ]
    return found


def inside(shape: tuple[int, ...], place: tuple[int, ...], around: list[int] | None = None) -> bool:
    """Whether a place lies in the image, or in the pads ``around`` it."""
    rank = len(place)
    pads = around or [0] * (2 * rank)
    return all(-pads[a] <= place[a] < shape[2 + a] + pads[rank + a] for a in range(rank))


@property_of("Clip")
@some
@given(st.data(), st.sampled_from(KINDS))
def test_clip(data: st.DataObject, kind: str) -> None:
    limits = np.iinfo(kind)
    low = data.draw(whole(limits.min, limits.max))
    high = data.draw(whole(low, limits.max))
    x = data.draw(filled(kind, data.draw(array_shapes(min_dims=1, max_dims=4, max_side=4)), low, high))
    model = one_node("Clip", {"x": x}, {}, ["x"], {"y": kind}, low=low, high=high)
    expected = [min(max(value, low), high) for value in x.ravel().tolist()]
    assert agreed(model, {"x": x})["y"].ravel().tolist() == expected


@pytest.mark.parametrize(("low", "high"), [(3, 2), (-1, 4), (0, 256)])
def test_bounds_that_are_no_interval_of_the_type_are_refused(low: int, high: int) -> None:
    x = np.zeros((2, 2), np.uint8)
    model = one_node("Clip", {"x": x}, {}, ["x"], {"y": "uint8"}, low=low, high=high)
    with pytest.raises(ContractError, match=f"bounds {low} to {high}"):
        ReferenceModel(model).run({"x": x})


@property_of("MaxPool")
@some
@given(st.data(), windows(), st.sampled_from(KINDS))
def test_max_pool(data: st.DataObject, drawn: tuple[tuple[int, ...], Window], kind: str) -> None:
    shape, window = drawn
    x = data.draw(filled(kind, shape, 0, 1))
    y = agreed(one_node("MaxPool", {"x": x}, {}, ["x"], {"y": kind}, **window), {"x": x})["y"]
    for position, read in places(shape, window).items():
        for image in np.ndindex(shape[:2]):
            assert y[(*image, *position)] == max(x[(*image, *place)] for place in read if inside(shape, place))


@property_of("AveragePool")
@some
@given(st.data(), windows(), *[st.sampled_from(KINDS)] * 2, st.booleans())
def test_average_pool(
    data: st.DataObject, drawn: tuple[tuple[int, ...], Window], kind: str, y_kind: str, counts: bool
) -> None:
    """With one multiplier, and with one for each number of counted places."""
    shape, window = drawn
    window = window | {"dilations": [1] * len(window["kernel"])}
    x_zero_point = data.draw(whole(0, 255)) if kind == "uint8" else 0
    x = data.draw(filled(kind, shape, x_zero_point, x_zero_point + 1))
    size = math.prod(window["kernel"])
    chosen = data.draw(requantizations(size if counts else 1, y_kind))
    multipliers = np.resize(chosen["m"].astype(np.int32), size if counts else 1)
    counted = [data.draw(st.integers(0, pad)) for pad in window["pads"]]
    attributes = {name: window[name] for name in ("kernel", "strides", "pads")}
    model = one_node(
        "AveragePool", {"x": x}, {"m": multipliers}, ["x", "m"], {"y": y_kind},
        **attributes, counted=counted, x_zero_point=x_zero_point, **attributes_of(chosen),
    )  # fmt: skip
    y = agreed(model, {"x": x})["y"]
    for position, read in places(shape, window).items():
        number = sum(inside(shape, place, counted) for place in read)
        multiplier = int(multipliers[number - 1 if multipliers.size > 1 else 0])
        for image in np.ndindex(shape[:2]):
            total = sum(int(x[(*image, *place)]) - x_zero_point for place in read if inside(shape, place))
            expected = defined(np.array([total], object), chosen | {"m": np.array([multiplier], object)})
            assert y[(*image, *position)] == expected[0]


@property_of("GlobalAveragePool")
@some
@given(st.data(), array_shapes(min_dims=3, max_dims=5, max_side=4), *[st.sampled_from(KINDS)] * 2)
def test_global_average_pool(data: st.DataObject, shape: tuple[int, ...], kind: str, y_kind: str) -> None:
    x_zero_point = data.draw(whole(0, 255)) if kind == "uint8" else 0
    x = data.draw(filled(kind, shape, x_zero_point, x_zero_point + 1))
    chosen = data.draw(requantizations(1, y_kind))
    model = one_node(
        "GlobalAveragePool", {"x": x}, {"m": chosen["m"].astype(np.int32)}, ["x", "m"], {"y": y_kind},
        x_zero_point=x_zero_point, **attributes_of(chosen),
    )  # fmt: skip
    totals = (x.astype(object) - x_zero_point).reshape(*shape[:2], -1).sum(axis=2)
    expected = defined(totals, chosen).reshape(*shape[:2], *[1] * (len(shape) - 2))
    y = agreed(model, {"x": x})["y"]
    assert y.shape == expected.shape
    assert (y == expected).all()


@property_of("GlobalMaxPool")
@some
@given(st.data(), array_shapes(min_dims=3, max_dims=5, max_side=4), st.sampled_from(KINDS))
def test_global_max_pool(data: st.DataObject, shape: tuple[int, ...], kind: str) -> None:
    x = data.draw(filled(kind, shape, 0, 1))
    y = agreed(one_node("GlobalMaxPool", {"x": x}, {}, ["x"], {"y": kind}), {"x": x})["y"]
    assert y.shape == (*shape[:2], *[1] * (len(shape) - 2))
    assert y.ravel().tolist() == [max(image) for image in x.reshape(shape[0] * shape[1], -1).tolist()]


@property_of("Pad")
@some
@given(st.data(), array_shapes(min_dims=3, max_dims=5, max_side=4), st.sampled_from(KINDS))
def test_pad(data: st.DataObject, shape: tuple[int, ...], kind: str) -> None:
    rank = len(shape) - 2
    pads = data.draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    zero_point = data.draw(whole(np.iinfo(kind).min, np.iinfo(kind).max))
    x = data.draw(filled(kind, shape, 0, 1))
    y = agreed(one_node("Pad", {"x": x}, {}, ["x"], {"y": kind}, pads=pads, zero_point=zero_point), {"x": x})["y"]
    assert y.shape == (*shape[:2], *[shape[2 + a] + pads[a] + pads[rank + a] for a in range(rank)])
    for index in np.ndindex(y.shape):
        place = tuple(index[2 + a] - pads[a] for a in range(rank))
        assert y[index] == (x[(*index[:2], *place)] if inside(shape, place) else zero_point)


WINDOW: dict[str, Any] = {"kernel": [2, 2], "strides": [1, 1], "pads": [0] * 4}
REQUANTIZATION = {"x_zero_point": 0, "shift": 2, "y_zero_point": 0, "low": 0, "high": 255, "dtype": 2}


@pytest.mark.parametrize(
    ("operator", "changed", "message"),
    [
        ("MaxPool", {"kernel": [3, 1]}, "smaller than one window"),
        ("MaxPool", {"kernel": [1, 1], "pads": [1, 0, 0, 0]}, "outside of the image"),
        ("AveragePool", {"counted": [1, 0, 0, 0]}, "no more than the pads"),
        ("AveragePool", {"strides": [0, 1]}, "strides"),
        ("Pad", {"pads": [1, 1]}, "two pads for each"),
    ],
)
def test_windows_that_no_export_writes_are_refused(operator: str, changed: dict[str, Any], message: str) -> None:
    x = np.zeros((1, 1, 2, 2), np.uint8)
    constants = {}
    if operator == "MaxPool":
        attributes = WINDOW | {"dilations": [1, 1]}
    elif operator == "AveragePool":
        attributes = WINDOW | {"counted": [0] * 4} | REQUANTIZATION
        constants = {"m": np.ones(1, np.int32)}
    else:
        attributes = {"zero_point": 0}
    model = one_node(operator, {"x": x}, constants, ["x", *constants], {"y": "uint8"}, **attributes | changed)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run({"x": x})


def test_several_multipliers_need_a_counted_place_in_every_window() -> None:
    x = np.zeros((1, 1, 2, 2), np.uint8)
    attributes = WINDOW | {"kernel": [2, 1], "pads": [2, 0, 0, 0], "counted": [0] * 4} | REQUANTIZATION
    model = one_node("AveragePool", {"x": x}, {"m": np.ones(2, np.int32)}, ["x", "m"], {"y": "uint8"}, **attributes)
    with pytest.raises(ContractError, match="without a counted place"):
        ReferenceModel(model).run({"x": x})


def test_the_sum_of_a_window_that_int32_does_not_hold_is_refused() -> None:
    """As much as the exporter proves that it cannot happen."""
    x = np.full((1, 1, 257, 256), -(2**15), np.int16)
    constants = {"m": np.ones(1, np.int32)}
    model = one_node("GlobalAveragePool", {"x": x}, constants, ["x", "m"], {"y": "uint8"}, **REQUANTIZATION)
    with pytest.raises(ContractError, match="outside int32"):
        ReferenceModel(model).run({"x": x})


@property_of("PRelu")
@some
@given(st.data(), array_shapes(min_dims=2, max_dims=4, max_side=4), *[st.sampled_from(KINDS)] * 2)
def test_prelu(data: st.DataObject, shape: tuple[int, ...], kind: str, y_kind: str) -> None:
    x_zero_point = data.draw(whole(0, 255)) if kind == "uint8" else 0
    x = data.draw(filled(kind, shape, x_zero_point, x_zero_point + 1))
    chosen = data.draw(requantizations(1, y_kind))
    multiplier = data.draw(whole(1, LARGEST, 1 << 14))
    slopes = data.draw(filled("int32", data.draw(st.sampled_from([1, shape[1]])), 0, 1, -1, low=-LARGEST))
    model = one_node(
        "PRelu", {"x": x}, {"s": slopes}, ["x", "s"], {"y": y_kind},
        x_zero_point=x_zero_point, multiplier=multiplier, **attributes_of(chosen),
    )  # fmt: skip
    y = agreed(model, {"x": x})["y"]
    for index in np.ndindex(shape):
        value = int(x[index]) - x_zero_point
        factor = multiplier if value > 0 else int(slopes[index[1] % slopes.size])
        expected = defined(np.array([value * factor], object), chosen | {"m": np.array([1], object)})
        assert y[index] == expected[0]


@some
@given(st.data(), whole(0, 24), st.tuples(*[whole(0, 255)] * 3), st.tuples(*[whole(0, 2**15 - 1, 2**14)] * 2))
def test_add_of_bytes(data: st.DataObject, shift: int, zeros: tuple[int, int, int], factors: tuple[int, int]) -> None:
    """Around the largest shift of 32 bits, with extremes on both sides."""
    shape = data.draw(array_shapes(min_dims=2, max_dims=4, max_side=3))
    a, b = (data.draw(filled("uint8", shape, zeros[index])) for index in range(2))
    low = data.draw(whole(0, 255, zeros[2]))
    high = data.draw(whole(low, 255))
    model = one_node(
        "Add", {"a": a, "b": b}, {}, ["a", "b"], {"y": "uint8"},
        a_zero_point=zeros[0], b_zero_point=zeros[1], y_zero_point=zeros[2],
        a_multiplier=factors[0], b_multiplier=factors[1], shift=shift, low=low, high=high, dtype=2,
    )  # fmt: skip
    total = (a.astype(int) - zeros[0]) * factors[0] + (b.astype(int) - zeros[1]) * factors[1]
    expected = np.clip((total + ((1 << shift) >> 1)) // (1 << shift) + zeros[2], low, high)
    assert (agreed(model, {"a": a, "b": b})["y"] == expected).all()
