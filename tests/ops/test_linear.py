"""Linear: from integers to integers, with one rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node

DTYPES = {"uint8": 2, "int16": 5, "int32": 6}
BOUNDS = {"uint8": (0, 255), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1)}


def layer(
    weight: Any,
    bias: Any,
    multiplier: Any,
    *,
    x: str = "uint8",
    y: str = "uint8",
    shift: int = 8,
    x_zero_point: int = 0,
    y_zero_point: int = 0,
    low: int | None = None,
    high: int | None = None,
) -> Any:
    """A model of one Linear node."""
    bounds = BOUNDS[y]
    constants = {
        "w": np.array(weight, np.int8),
        "b": np.array(bias, np.int32),
        "m": np.array(multiplier, np.int32),
    }
    return one_node(
        "Linear",
        {"x": np.zeros((1, 1), x)},
        constants,
        ["x", "w", "b", "m"],
        {"y": y},
        x_zero_point=x_zero_point,
        shift=shift,
        y_zero_point=y_zero_point,
        low=bounds[0] if low is None else low,
        high=bounds[1] if high is None else high,
        dtype=DTYPES[y],
    )


def test_a_row_computed_by_hand() -> None:
    """(3*10 - 2*20 + 5) * 3 / 4 = -3.75 -> -4; + zero point 100 = 96; the other row 3.75 -> 4."""
    model = layer([[3, -2], [-3, 2]], [5, -5], [3], shift=2, y_zero_point=100)
    assert agreed(model, {"x": np.array([[10, 20]], np.uint8)}, onnx_reference=True, inlined=True)["y"].tolist() == [
        [96, 104]
    ]


@pytest.mark.parametrize(("accumulator", "expected"), [(1, 1), (-1, 0), (3, 2), (-3, -1), (0, 0), (2, 1), (-2, -1)])
def test_ties_go_up(accumulator: int, expected: int) -> None:
    model = layer([[0]], [accumulator], [1], shift=1, y="int16")
    assert agreed(model, {"x": np.array([[0]], np.uint8)})["y"].tolist() == [[expected]]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 40),
    outputs=st.integers(1, 9),
    bits=st.integers(1, 8),
    x=st.sampled_from(["uint8", "int16"]),
    y=st.sampled_from(["uint8", "int16", "int32"]),
    per_channel=st.booleans(),
    multiplier=st.one_of(st.just(1), st.integers(-(2**31) + 1, 2**31 - 1)),
    shift=st.integers(0, 46),
    x_zero_point=st.integers(0, 255),
    y_zero_point=st.integers(0, 255),
    seed=st.integers(0, 2**31),
)
def test_random_layers(
    rows: int,
    columns: int,
    outputs: int,
    bits: int,
    x: str,
    y: str,
    per_channel: bool,
    multiplier: int,
    shift: int,
    x_zero_point: int,
    y_zero_point: int,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    top = 2 ** (bits - 1)
    # 128 in all: the grid of q_8 has -128.
    weight = generator.integers(-top, max(top, 1), (outputs, columns))
    multipliers = np.clip(multiplier + np.arange(outputs if per_channel else 1) - 4, -(2**31) + 1, 2**31 - 1)
    model = layer(
        weight,
        generator.integers(-(2**20), 2**20, outputs),
        multipliers,
        x=x,
        y=y,
        shift=min(shift, 30) if y == "int32" else shift,
        x_zero_point=x_zero_point if x == "uint8" else 0,
        y_zero_point=y_zero_point if y == "uint8" else 0,
    )
    bounds = np.iinfo(x)
    agreed(model, {"x": generator.integers(bounds.min, bounds.max, (rows, columns), np.dtype(x), endpoint=True)})


def test_extremes_of_eight_bits() -> None:
    """All activations 255 against the weights that saturate a 16-bit pair on processors without VNNI."""
    model = layer(np.tile([[127], [-127], [-128], [64]], (1, 64)), [0, 0, 0, 0], [1], shift=0, y="int32")
    assert agreed(model, {"x": np.full((2, 64), 255, np.uint8)})["y"][0].tolist() == [
        64 * 255 * w for w in (127, -127, -128, 64)
    ]


def test_an_accumulator_that_leaves_int32_is_an_error() -> None:
    model = layer([[127] * 70], [2**31 - 1], [1], shift=8)
    with pytest.raises(ContractError, match="node node: the accumulator reached"):
        ReferenceModel(model).run({"x": np.full((1, 70), 255, np.uint8)})


@pytest.mark.parametrize("x", [np.zeros((1, 3), np.uint8), np.zeros((1, 2), np.float32), np.zeros((0, 2), np.uint8)])
def test_other_inputs_are_refused(x: Any) -> None:
    with pytest.raises(ContractError, match="node node"):
        ReferenceModel(layer([[1, 2]], [0], [1])).run({"x": x})
