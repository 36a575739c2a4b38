"""Rules of rounding of Linear and Conv: the reference, the bodies and a definition of its own agree; what a rule forbids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.export.onnx import attach_bodies
from qdeploy.runtime.errors import ContractError, UnsupportedModelError
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.runtime.rounding import RULES, requantize

from . import definitions
from .agreement import agreed, one_node
from .kernel_rules import by_rule
from .test_properties import many, whole

EDGES = [0, 1, 127, 128, 254, 255]
WITH_BODIES = ["half_even", "gemmlowp", "double_half_up", "half_away"]


def layer(operator: str, x: Any, w: Any, b: Any, m: Any, **changed: Any) -> Any:
    """A model of one node whose rule is half_even."""
    rank = np.asarray(w).ndim - 2
    attributes: dict[str, Any] = {
        "x_zero_point": 0, "shift": 0, "y_zero_point": 0, "low": 0, "high": 255, "dtype": 2, "rounding": "half_even",
    }  # fmt: skip
    if operator == "Conv":
        attributes |= {"strides": [1] * rank, "pads": [0] * (2 * rank), "dilations": [1] * rank, "group": 1}
    constants = {"w": np.asarray(w, np.int8), "b": np.array(b, np.int32), "m": np.array(m, np.int32)}
    return one_node(operator, {"x": x}, constants, ["x", "w", "b", "m"], {"y": "uint8"}, **attributes | changed)


@pytest.mark.parametrize(("sign", "expected"), [(1, [0, 1, 2, 2, 2, 3, 4, 4]), (-1, [0, -1, -2, -2, -2, -3, -4, -4])])
def test_ties_go_to_the_even_neighbour_around_an_odd_zero_point(sign: int, expected: list[int]) -> None:
    x = np.arange(1, 9, dtype=np.uint8)
    rows = layer("Linear", x[:, None], [[sign]], [0], [1], shift=1, y_zero_point=11)
    found = agreed(rows, {"x": x[:, None]}, inlined=True, onnx_reference=True)["y"].reshape(-1)
    assert (found == np.array(expected) + 11).all()
    line = layer("Conv", x[None, None], [[[sign]]], [0], [1], shift=1, y_zero_point=11)
    assert (agreed(line, {"x": x[None, None]}, inlined=True)["y"].reshape(-1) == np.array(expected) + 11).all()


def drawn(data: st.DataObject, outputs: int, rows: Any, rule: str) -> dict[str, Any]:
    """Bias, multipliers and attributes within what every rule allows for these weights, ties among the sums."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    reach = int(np.abs(rows.astype(int)).sum(axis=1).max()) * 255
    # With room for a bias of 2^10.
    odd = data.draw(st.sampled_from([odd for odd in (1, 3, 7, 255) if (reach + 2**10) * odd < 2**24]))
    room = (2**24 - 1) // odd - reach
    low_bits = data.draw(st.integers(0, 6))
    y_zero_point = data.draw(whole(0, 255))
    low = data.draw(st.one_of(st.just(0), st.just(y_zero_point), whole(0, 255)))
    multipliers = odd << generator.integers(low_bits, low_bits + 3, data.draw(st.sampled_from([1, outputs])))
    # No multiplier lifts an accumulator out of what kernels hold in int32 before they clip.
    least = max(0, int(multipliers.max()).bit_length() + 24 - 30)
    return {
        "rounding": rule,
        "m": multipliers,
        "b": generator.choice([0, 1, -1, 1 << 10, -(1 << 10), room, -room], outputs),
        "x_zero_point": data.draw(whole(0, 255)),
        "shift": data.draw(whole(least, 46)),
        "y_zero_point": y_zero_point,
        "low": low,
        "high": data.draw(st.one_of(st.just(255), whole(low, 255))),
    }


def expected_of(accumulator: Any, chosen: dict[str, Any]) -> Any:
    ends = (chosen[name] for name in ("shift", "y_zero_point", "low", "high"))
    return by_rule(chosen["rounding"], accumulator, np.asarray(chosen["m"]), *ends)


@many
@given(st.data(), st.sampled_from(WITH_BODIES))
def test_linear(data: st.DataObject, rule: str) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    outputs, inputs = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    w = generator.choice([-128, -127, -1, 0, 1, 3, 127], (outputs, inputs)).astype(np.int8)
    x = generator.choice(EDGES, (data.draw(st.integers(1, 3)), inputs)).astype(np.uint8)
    chosen = drawn(data, outputs, w, rule)
    model = layer("Linear", x, w, **chosen)
    accumulator = definitions.linear(x, w, chosen["b"], chosen["x_zero_point"])
    assert (agreed(model, {"x": x})["y"] == expected_of(accumulator, chosen)).all()


@many
@given(st.data(), st.integers(1, 3), st.sampled_from([1, 2]), st.sampled_from(WITH_BODIES))
def test_conv(data: st.DataObject, rank: int, group: int, rule: str) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    outputs, inside = group * data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    kernel = [data.draw(st.integers(1, 2)) for _ in range(rank)]
    windows = {
        "strides": [data.draw(st.integers(1, 2)) for _ in range(rank)],
        "pads": [data.draw(st.integers(0, 1)) for _ in range(2 * rank)],
        "dilations": [1] * rank,
    }
    w = generator.choice([-127, -64, -1, 0, 1, 64, 127], (outputs, inside, *kernel)).astype(np.int8)
    x = generator.choice(EDGES, (data.draw(st.integers(1, 2)), group * inside, *[k + 1 for k in kernel]))
    x = x.astype(np.uint8)
    chosen = drawn(data, outputs, w.reshape(outputs, -1), rule)
    model = layer("Conv", x, w, group=group, **windows, **chosen)
    zero_point = chosen["x_zero_point"]
    accumulator = definitions.convolved(x, w, **windows, group=group, x_zero_point=zero_point)
    accumulator = np.moveaxis(accumulator, 1, -1) + chosen["b"].astype(object)
    expected = np.moveaxis(expected_of(accumulator, chosen), -1, 1)
    assert (agreed(model, {"x": x})["y"] == expected).all()


@pytest.mark.parametrize("operator", ["Linear", "Conv"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rounding": "nearest"}, "rounding is 'nearest'; expected one of .*half_even, half_up"),
        ({"dtype": 5, "low": -9}, "x is uint8 and dtype=5; rounding half_even goes from uint8 to uint8"),
        ({"m": [0]}, "could reach 0; rounding half_even needs positive multipliers"),
        ({"m": [-1]}, "needs positive multipliers"),
        ({"b": [1 << 24], "shift": 17}, r"could reach 16777\d+; .* less than 2\^24"),
        ({"m": [(1 << 24) + 1]}, r"less than 2\^24"),
        ({"b": [1 << 23], "m": [1 << 8]}, r"results reach 2147\d+ before they are clipped; .* needs less than 2\^30"),
        ({"rounding": "gemmlowp", "m": [0]}, "a multiplier is not positive; rounding gemmlowp"),
        (
            {"rounding": "gemmlowp", "m": [1 << 24]},
            r"lifts the accumulator to 17\d+; rounding gemmlowp needs less than 2\^31",
        ),
        ({"rounding": "double_half_up", "dtype": 5, "low": -9}, "rounding double_half_up goes from uint8 to uint8"),
        ({"rounding": "half_away", "m": [(1 << 31) - 1], "b": [1 << 24]}, r"less than 2\^53, which double precision"),
    ],
)
def test_what_the_rules_kernels_could_not_compute_is_an_error(
    operator: str, changed: dict[str, Any], message: str
) -> None:
    x = np.zeros((1, 2) if operator == "Linear" else (1, 2, 3), np.uint8)
    w = np.ones((1, 2) if operator == "Linear" else (1, 2, 1))
    model = layer(operator, x, w, **{"b": [0], "m": [1]} | changed)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run({"x": x})
    if changed.get("rounding") == "nearest":
        with pytest.raises(UnsupportedModelError, match="rounding 'nearest' has no body"):
            attach_bodies(model)


def test_a_node_without_a_rule_has_the_contracts_own() -> None:
    assert (requantize(np.array([1, 3, -1]), 1, 1) == requantize(np.array([1, 3, -1]), 1, 1, rounding="half_up")).all()
    assert set(RULES) >= {"half_up", "half_even"}
