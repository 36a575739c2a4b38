"""RNN: every arrangement of the body gives the contract's bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.rnn_arrangement import accumulator_reach, arrange
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node

UINT8, INT16 = 2, 5


def network(
    *,
    hidden: int = 17,
    inputs: int = 1,
    weight_bits: int = 4,
    state_bits: int = 8,
    activation: str = "relu",
    multiplier: int = 1497,
    shift: int = 15,
    input_shift: int = 0,
    recurrent_shift: int = 0,
    zero_point: int = 0,
    low: int = 0,
    x_type: str = "uint8",
    every_step: bool = True,
    per_channel: bool = False,
    input_multiplier: int | None = None,
    seed: int = 0,
    bias: int = 3000,
    rounding: str | None = None,
) -> tuple[Any, dict[str, Any]]:
    """A random layer with its attributes."""
    generator = np.random.default_rng(seed)
    top = 1 << (weight_bits - 1)
    bottom = -top if weight_bits < 8 else -127
    state = "uint8" if state_bits <= 8 else "int16"
    high = 2**state_bits - 1 if low >= 0 else 2 ** (state_bits - 1) - 1
    constants: dict[str, NDArray[Any]] = {
        "u": generator.integers(bottom, top, (hidden, inputs)).astype(np.int8),
        "w": generator.integers(bottom, top, (hidden, hidden)).astype(np.int8),
        "b": generator.integers(-bias, bias + 1, hidden).astype(np.int32),
        "m": (multiplier + np.arange(hidden if per_channel else 1)).astype(np.int32),
    }
    names = ["x", "h0", "u", "w", "b", "m", "", "", ""]
    if activation == "modrelu":
        constants["rectifier"] = generator.integers(-bias, bias + 1, hidden).astype(np.int32)
        names[6] = "rectifier"
    if activation == "table":
        size = 256 if state_bits <= 8 else 4096
        bend = np.tanh((np.arange(size) - size // 2) / (size / 8)) * (high - zero_point)
        constants["table"] = np.clip(np.rint(bend) + zero_point, low, high).astype(state)
        names[7] = "table"
    if input_multiplier is not None:
        constants["input_multiplier"] = np.array([input_multiplier], np.int32)
        names[8] = "input_multiplier"
    while not names[-1]:
        names.pop()
    attributes: dict[str, Any] = {
        "activation": activation,
        "x_zero_point": 3 if x_type == "uint8" else 0,
        "h_zero_point": zero_point,
        "input_shift": input_shift,
        "recurrent_shift": recurrent_shift,
        "shift": shift,
        "low": low,
        "high": high,
        "dtype": UINT8 if state == "uint8" else INT16,
    }
    if rounding is not None:
        attributes["rounding"] = rounding
    shapes = {"x": np.zeros((1, 1, inputs), x_type), "h0": np.zeros((1, hidden), state)}
    model = one_node("RNN", shapes, constants, names, {"y": state if every_step else "", "y_h": state}, **attributes)
    return model, attributes | {"hidden": hidden, "inputs": inputs, "x_type": x_type, "state": state}


def random_feeds(about: dict[str, Any], steps: int = 9, batch: int = 3, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Integers over the whole range of input and state."""
    generator = np.random.default_rng(seed)
    x_range = (0, 256) if about["x_type"] == "uint8" else (-3000, 3000)
    return {
        "x": generator.integers(*x_range, (steps, batch, about["inputs"])).astype(about["x_type"]),
        "h0": generator.integers(about["low"], about["high"] + 1, (batch, about["hidden"])).astype(about["state"]),
    }


CASES: dict[str, dict[str, Any]] = {
    "direct_relu_gather": {},
    "direct_relu_divide": {"multiplier": 1, "shift": 5, "hidden": 300, "weight_bits": 8},
    "rows_relu_divide": {"multiplier": 1, "shift": 9, "weight_bits": 8, "state_bits": 12},
    "digits_relu_gather": {"state_bits": 12},
    "rows_relu_multiply": {"state_bits": 12, "weight_bits": 8, "shift": 20},
    "rows_relu_gather": {"state_bits": 12, "weight_bits": 6},
    "rows_linear_multiply": {"state_bits": 16, "low": -(2**15), "activation": "linear"},
    "digits_linear_gather": {"state_bits": 12, "low": -2048, "activation": "linear"},
    "direct_linear_gather": {"activation": "linear", "zero_point": 128},
    "direct_modrelu_gather": {"activation": "modrelu", "zero_point": 128},
    "digits_modrelu_gather": {"activation": "modrelu", "state_bits": 12, "low": -2048},
    "rows_modrelu_gather": {"activation": "modrelu", "state_bits": 12, "low": -2048, "weight_bits": 8},
    "direct_table_gather": {"activation": "table", "zero_point": 128},
    "digits_table_gather": {"activation": "table", "state_bits": 12, "low": -2048},
    "digits_table_multiply": {"activation": "table", "state_bits": 12, "low": -2048, "per_channel": True},
    "direct_table_multiply": {"activation": "table", "zero_point": 128, "per_channel": True},
    "direct_relu_multiply": {"per_channel": True},
    "digits_relu_multiply": {"per_channel": True, "state_bits": 12},
    "rows_relu_multiply_channels": {"per_channel": True, "state_bits": 12, "weight_bits": 8},
    "digits_linear_multiply": {"per_channel": True, "activation": "linear", "state_bits": 10, "low": -512},
    "direct_modrelu_multiply": {"per_channel": True, "activation": "modrelu", "zero_point": 128},
    "digits_modrelu_multiply": {"per_channel": True, "activation": "modrelu", "state_bits": 12, "low": -2048},
    "input_lifted": {"input_shift": 3},
    "state_lifted": {"recurrent_shift": 2},
    "state_lifted_in_loop": {"recurrent_shift": 3, "weight_bits": 8, "state_bits": 12, "shift": 22},
    "state_lifted_multiply": {"recurrent_shift": 3, "weight_bits": 8, "per_channel": True, "shift": 22},
    "state_lifted_modrelu": {
        "recurrent_shift": 3,
        "weight_bits": 8,
        "per_channel": True,
        "shift": 22,
        "activation": "modrelu",
        "zero_point": 128,
    },
    "input_requantized": {"input_multiplier": 12345, "input_shift": 10},
    "wide_input": {"x_type": "int16", "inputs": 5},
    "wide_input_and_state": {
        "x_type": "int16",
        "inputs": 5,
        "state_bits": 12,
        "low": -2048,
        "activation": "linear",
        "weight_bits": 3,
    },
    "no_shift": {"multiplier": 1, "shift": 0, "weight_bits": 2},
    "fifteen_bits": {"multiplier": 1, "shift": 3, "state_bits": 15, "weight_bits": 2},
    "last_direct": {"every_step": False},
    "last_digits": {"state_bits": 12, "every_step": False},
    "last_rows": {"state_bits": 12, "weight_bits": 8, "every_step": False},
    "last_multiply": {"state_bits": 12, "per_channel": True, "every_step": False},
    "multiplier_31_bits": {"multiplier": 2**31 - 1, "shift": 40},
    "multiplier_31_bits_wide": {"multiplier": 2**30 + 5, "shift": 36, "state_bits": 12},
    "nine_bits": {"weight_bits": 2, "state_bits": 9},
    "eleven_bits": {"weight_bits": 5, "state_bits": 11},
}


@pytest.mark.parametrize("name", CASES)
def test_bodies_and_onnxruntime_give_the_contracts_bits(name: str) -> None:
    model, about = network(**CASES[name])
    agreed(model, random_feeds(about))


def test_the_cases_reach_every_arrangement() -> None:
    seen = {(a.product, a.finish) for case in CASES.values() for a in [arrange(next(sites(network(**case)[0])))]}
    finishes = ("gather", "multiply")
    wanted = {(p, f) for p in ("direct", "digits", "rows") for f in finishes} | {
        ("direct", "divide"),
        ("rows", "divide"),
    }
    assert seen == wanted


@pytest.mark.parametrize(
    "name", ["direct_relu_gather", "digits_relu_gather", "rows_relu_multiply", "digits_modrelu_multiply"]
)
def test_onnx_reference_and_the_inlined_file_agree_too(name: str) -> None:
    model, about = network(**CASES[name])
    agreed(model, random_feeds(about, steps=3, batch=2), onnx_reference=True, inlined=True)


@pytest.mark.parametrize(
    "name", ["direct_relu_gather", "digits_relu_gather", "rows_relu_multiply", "direct_modrelu_multiply"]
)
def test_any_split_of_a_sequence_and_of_a_batch_gives_the_same_bits(name: str) -> None:
    model, about = network(**CASES[name])
    feeds = random_feeds(about, steps=7, batch=3)
    whole = agreed(model, feeds)
    state, pieces = feeds["h0"], []
    for start, stop in ((0, 1), (1, 2), (2, 6), (6, 7)):
        part = agreed(model, {"x": feeds["x"][start:stop], "h0": state})
        state = part["y_h"]
        pieces.append(part["y"])
    assert (np.concatenate(pieces) == whole["y"]).all()
    assert (state == whole["y_h"]).all()
    for sequence in range(3):
        rows = slice(sequence, sequence + 1)
        alone = agreed(model, {"x": feeds["x"][:, rows], "h0": feeds["h0"][rows]})
        assert (alone["y"] == whole["y"][:, rows]).all()


@settings(max_examples=40, deadline=None)
@given(
    hidden=st.integers(1, 24),
    inputs=st.integers(1, 4),
    weight_bits=st.integers(2, 8),
    state_bits=st.integers(2, 16),
    activation=st.sampled_from(["relu", "linear", "modrelu", "table"]),
    multiplier=st.one_of(st.just(1), st.integers(1, 2**15 - 1), st.integers(2**30, 2**31 - 40)),
    shift=st.integers(0, 46),
    input_shift=st.integers(0, 4),
    recurrent_shift=st.integers(0, 4),
    per_channel=st.booleans(),
    every_step=st.booleans(),
    batch=st.integers(1, 3),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
def test_random_layers(batch: int, steps: int, seed: int, **chosen: Any) -> None:
    wide = chosen["state_bits"] > 8
    signed = chosen["activation"] != "relu"
    low = -(2 ** (chosen["state_bits"] - 1)) if signed and wide else 0
    if not signed and chosen["state_bits"] == 16:
        chosen["state_bits"] = 15
    zero_point = 2 ** (chosen["state_bits"] - 1) if signed and not wide else 0
    model, about = network(**chosen, low=low, zero_point=zero_point, seed=seed)
    if accumulator_reach(next(sites(model))) >= 2**31:
        return
    agreed(model, random_feeds(about, steps, batch, seed))


def test_ties_round_up_on_both_sides_of_zero() -> None:
    """acc * 1 / 2: 1 gives 1, -1 gives 0, 3 gives 2, -3 gives -1."""
    constants = {
        "u": np.array([[1], [-1], [3], [-3]], np.int8),
        "w": np.zeros((4, 4), np.int8),
        "b": np.zeros(4, np.int32),
        "m": np.array([1], np.int32),
    }
    model = one_node(
        "RNN",
        {"x": np.zeros((1, 1, 1), np.uint8), "h0": np.zeros((1, 4), np.int16)},
        constants,
        ["x", "h0", "u", "w", "b", "m"],
        {"y": "int16", "y_h": "int16"},
        activation="linear",
        x_zero_point=0,
        h_zero_point=0,
        input_shift=0,
        recurrent_shift=0,
        shift=1,
        low=-2048,
        high=2047,
        dtype=INT16,
    )
    result = agreed(model, {"x": np.ones((1, 1, 1), np.uint8), "h0": np.zeros((1, 4), np.int16)})
    assert result["y_h"].tolist() == [[1, 0, 2, -1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((0, 1, 1), np.uint8)}, "T >= 1"),
        ({"x": np.zeros((2, 1, 2), np.uint8)}, "x has shape"),
        ({"x": np.zeros((2, 1, 1), np.int32)}, "expected uint8 or int16"),
        ({"h0": np.zeros((2, 17), np.uint8)}, "h0 has shape"),
        ({"h0": np.zeros((1, 17), np.int16)}, "h0 is int16"),
    ],
)
def test_what_the_contract_forbids_is_an_error_with_the_nodes_name(change: dict[str, Any], message: str) -> None:
    model, about = network()
    with pytest.raises(ContractError, match=message) as caught:
        ReferenceModel(model).run(random_feeds(about, 2, 1) | change)
    assert "node" in str(caught.value)


def test_states_beyond_their_bounds_are_refused() -> None:
    model, about = network(state_bits=6)
    with pytest.raises(ContractError, match="0 to 63"):
        ReferenceModel(model).run(random_feeds(about, 2, 1) | {"h0": np.full((1, 17), 64, np.uint8)})


def test_an_accumulator_that_leaves_int32_is_an_error_not_a_wrap() -> None:
    model, about = network(bias=0, input_shift=24, weight_bits=8)
    with pytest.raises(ContractError, match="outside int32"):
        ReferenceModel(model).run(random_feeds(about) | {"x": np.full((9, 3, 1), 255, np.uint8)})


def test_a_rectifier_with_a_negative_multiplier_is_refused() -> None:
    """The rectified accumulator times it would be at most 0; a lower bound, which bodies have instead, would not say so."""
    model, about = network(multiplier=-3)
    with pytest.raises(ContractError, match="node node: relu needs multipliers that are not negative"):
        ReferenceModel(model).run(random_feeds(about))


def test_saturated_states_are_counted() -> None:
    model, about = network(multiplier=2**15 - 1, shift=10)
    result = ReferenceModel(model).run(random_feeds(about))
    assert result.saturations == {"node": int((result.outputs["y"] == 255).sum())}
    assert result.saturations["node"] > 0
