"""LSTM: the reference, the definition in Python's integers, the body and onnxruntime give the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.lstm_arrangement import arrange
from qdeploy.runtime.accumulator import INT32_REACH, recurrent_reach
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node
from .definitions import long_short_term_memory

UINT8, INT16 = 2, 5
NAMES = [
    "x", "h0", "c0", "input_weight", "recurrent_weight", "bias", "input_multiplier", "multiplier", "gate_table",
    "candidate_table", "cell_table",
]  # fmt: skip


def layer(
    *,
    hidden: int = 11,
    inputs: int = 3,
    weight_bits: int = 8,
    state_bits: int = 12,
    x_type: str = "uint8",
    multiplier: int = 29000,
    shift: int = 20,
    input_multiplier: int = 30000,
    input_shift: int = 9,
    recurrent_shift: int = 0,
    cell_shift: int = 4,
    output_shift: int | None = None,
    index_bits: int = 12,
    cell_bits: int = 12,
    per_row: bool = True,
    every_step: bool = True,
    random_tables: bool = False,
    powers: bool = False,
    plain: bool = False,
    seed: int = 0,
) -> tuple[Any, dict[str, NDArray[Any]], dict[str, Any]]:
    """A model of one layer, its constants and its attributes; tables of sigmoid and tanh unless random ones are wanted."""
    generator = np.random.default_rng(seed)
    top = (1 << (weight_bits - 1)) - 1
    rows = 4 * hidden
    wide = state_bits > 8
    state = "int16" if wide else "uint8"
    index, cell = np.arange(2**index_bits) - 2 ** (index_bits - 1), np.arange(2**cell_bits) - 2 ** (cell_bits - 1)
    tables: dict[str, NDArray[Any]] = {
        "gate_table": np.rint(2**14 / (1 + np.exp(-index * 16 / 2**index_bits))),
        "candidate_table": np.rint(np.tanh(index * 8 / 2**index_bits) * 2**12),
        "cell_table": np.clip(np.rint(np.tanh(cell * 16 / 2**cell_bits) * 2**15), -32767, 32767),
    }
    if plain:
        # No hidden state leaves its bounds.
        tables["cell_table"] = np.clip(tables["cell_table"], -32500, 32500)
    if random_tables:
        tables = {
            name: generator.choice([low, low // 3, high // 2, high], size=len(tables[name]))
            for name, (low, high) in {
                "gate_table": (0, 2**14), "candidate_table": (-32767, 32767), "cell_table": (-32767, 32767),
            }.items()
        }  # fmt: skip
    constants: dict[str, NDArray[Any]] = {
        "input_weight": generator.integers(-top - (weight_bits < 8), top + 1, (rows, inputs)).astype(np.int8),
        "recurrent_weight": generator.integers(-top - (weight_bits < 8), top + 1, (rows, hidden)).astype(np.int8),
        "bias": generator.integers(-(2**20), 2**20, rows).astype(np.int32),
        "input_multiplier": np.full(1, input_multiplier, np.int32),
        "multiplier": (multiplier + np.arange(rows if per_row else 1) // max(1, hidden)).astype(np.int32),
        **{name: table.astype(np.int16) for name, table in tables.items()},
    }
    if powers:
        constants["multiplier"] = (1 << np.arange(rows) % 4).astype(np.int32)
        constants["input_multiplier"] = (1 << np.arange(rows) % 3).astype(np.int32)
    attributes = {
        "x_zero_point": 3 if x_type == "uint8" else 0,
        "h_zero_point": 0 if wide else 2 ** (state_bits - 1),
        "input_shift": input_shift,
        "recurrent_shift": recurrent_shift,
        "shift": shift,
        "cell_shift": cell_shift,
        "output_shift": 30 - state_bits if output_shift is None else output_shift,
        "low": -(2 ** (state_bits - 1)) if wide else 0,
        "high": 2 ** (state_bits - 1) - 1 if wide else 2**state_bits - 1,
        "dtype": INT16 if wide else UINT8,
    }
    shapes = {
        "x": np.zeros((1, 1, inputs), x_type),
        "h0": np.zeros((1, hidden), state),
        "c0": np.zeros((1, hidden), np.int16),
    }
    outputs = {"y": state if every_step else "", "y_h": state, "y_c": "int16"}
    return one_node("LSTM", shapes, constants, NAMES, outputs, **attributes), constants, attributes


def random_feeds(
    constants: dict[str, NDArray[Any]], attributes: dict[str, Any], x_type: str = "uint8", steps: int = 7, batch: int = 3,
    seed: int = 1, *, extreme: bool = False,
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Integers over the whole range of input and states, or their ends only."""
    generator = np.random.default_rng(seed)
    hidden, inputs = constants["recurrent_weight"].shape[1], constants["input_weight"].shape[1]

    def drawn(low: int, high: int, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
        values = generator.choice([low, high], shape) if extreme else generator.integers(low, high + 1, shape)
        return values.astype(kind)

    x_low, x_high = (0, 255) if x_type == "uint8" else (-(2**15), 2**15 - 1)
    state = np.int16 if attributes["dtype"] == INT16 else np.uint8
    return {
        "x": drawn(x_low, x_high, (steps, batch, inputs), x_type),
        "h0": drawn(attributes["low"], attributes["high"], (batch, hidden), state),
        "c0": drawn(-(2**15), 2**15 - 1, (batch, hidden), np.int16),
    }


# A power of two closes the accumulator and brings U x to it.
SHIFTS: dict[str, Any] = {"multiplier": 1, "shift": 10, "per_row": False, "input_multiplier": 8, "input_shift": 0}
CASES: dict[str, dict[str, Any]] = {
    "rows": {},
    "direct": {"state_bits": 8},
    "four_bits": {"state_bits": 4, "weight_bits": 4},
    "sixteen_bits": {"state_bits": 16},
    "small_weights": {"weight_bits": 2, "recurrent_shift": 4},
    "lifted": {"recurrent_shift": 3},
    "lifted_direct": {"recurrent_shift": 3, "state_bits": 8},
    "one_multiplier": {"per_row": False},
    "thirty_one_bits": {"multiplier": 2**31 - 10, "shift": 38},
    "no_shift": {"multiplier": 1, "shift": 0, "per_row": False},
    "wide_input": {"x_type": "int16", "input_shift": 16},
    "wide_output": {"output_shift": 30},
    "narrow_output": {"output_shift": 0},
    "small_tables": {"index_bits": 1, "cell_bits": 3},
    "no_cell_shift": {"cell_shift": 0},
    "large_cell_shift": {"cell_shift": 15},
    "last": {"every_step": False},
    "last_direct": {"every_step": False, "state_bits": 8},
    "one_unit": {"hidden": 1, "inputs": 1},
    "extreme_tables": {"random_tables": True},
    "shifts": SHIFTS,
    "shifts_direct": {**SHIFTS, "state_bits": 8, "plain": True},
    "shifts_of_many_units": {**SHIFTS, "hidden": 300, "inputs": 2, "weight_bits": 4, "shift": 12},
    "sevens": {**SHIFTS, "hidden": 256, "inputs": 2, "shift": 14},
    "sevens_plain": {**SHIFTS, "hidden": 257, "inputs": 2, "shift": 14, "state_bits": 14, "plain": True},
    "sevens_multiplied": {"hidden": 256, "inputs": 2, "shift": 24, "random_tables": True},
    "fifteen_bits": {**SHIFTS, "hidden": 256, "inputs": 2, "shift": 16, "state_bits": 15},
    "shifts_lifted": {**SHIFTS, "recurrent_shift": 3, "shift": 14},
    "shifts_lifted_far": {**SHIFTS, "recurrent_shift": 3, "shift": 2},
    "shifts_of_a_long_reach": {**SHIFTS, "shift": 4},
    "shifts_by_row": {**SHIFTS, "powers": True},
    "shifts_with_few_entries": {**SHIFTS, "index_bits": 1, "shift": 16},
    "shifts_of_a_requantized_input": {**SHIFTS, "input_multiplier": 30000, "input_shift": 9},
}


@pytest.mark.parametrize("name", CASES)
def test_bodies_and_onnxruntime_give_the_contracts_bits(name: str) -> None:
    model, constants, attributes = layer(**CASES[name])
    x_type = CASES[name].get("x_type", "uint8")
    for extreme in (False, True):
        feeds = random_feeds(constants, attributes, x_type, extreme=extreme)
        found = agreed(model, feeds)
        states, cells = long_short_term_memory(feeds, constants, attributes)
        assert (found["y_h"] == states[-1]).all()
        assert (found["y_c"] == cells[-1]).all()
        if "y" in found:
            assert (found["y"] == states).all()


def test_the_cases_reach_every_arrangement() -> None:
    seen = [arrange(next(sites(layer(**case)[0]))) for case in CASES.values()]
    for choice in (
        "wide_state",
        "scaled_weights",
        "direct_cast",
        "requantized_input",
        "flat_gates",
        "flat_cell",
        "all_steps",
    ):
        assert {getattr(one, choice) for one in seen} == {False, True}, choice
    assert {one.finish for one in seen} == {"table", "divide", "multiply"}
    assert {one.output for one in seen} == {"plain", "split", "clipped", "long"}
    assert {one.low_bits for one in seen} == {7, 8}
    assert {one.output for one in seen if one.low_bits == 7} == {"split", "clipped"}
    assert {one.scaled_weights for one in seen if one.finish == "table"} == {False, True}
    assert {one.form for one in seen} == {"s8", "u8"}
    assert {one.x_kind for one in seen} == {"u8", "s16"}


@pytest.mark.parametrize("name", ["rows", "direct"])
def test_onnx_reference_and_the_inlined_file_agree_too(name: str) -> None:
    model, constants, attributes = layer(**CASES[name])
    agreed(model, random_feeds(constants, attributes, steps=3, batch=2), onnx_reference=True, inlined=True)


@pytest.mark.parametrize("name", ["rows", "direct", "extreme_tables"])
def test_any_split_of_a_sequence_and_of_a_batch_gives_the_same_bits(name: str) -> None:
    model, constants, attributes = layer(**CASES[name])
    feeds = random_feeds(constants, attributes, steps=7, batch=3)
    whole = agreed(model, feeds)
    held, pieces = {"h0": feeds["h0"], "c0": feeds["c0"]}, []
    for start, stop in ((0, 1), (1, 2), (2, 6), (6, 7)):
        part = agreed(model, {"x": feeds["x"][start:stop], **held})
        held = {"h0": part["y_h"], "c0": part["y_c"]}
        pieces.append(part["y"])
    assert (np.concatenate(pieces) == whole["y"]).all()
    assert (held["h0"] == whole["y_h"]).all()
    assert (held["c0"] == whole["y_c"]).all()
    for sequence in range(3):
        rows = slice(sequence, sequence + 1)
        alone = agreed(model, {"x": feeds["x"][:, rows], "h0": feeds["h0"][rows], "c0": feeds["c0"][rows]})
        assert (alone["y"] == whole["y"][:, rows]).all()
        assert (alone["y_c"] == whole["y_c"][rows]).all()


@settings(max_examples=40, deadline=None)
@given(
    hidden=st.integers(1, 12),
    inputs=st.integers(1, 4),
    weight_bits=st.integers(2, 8),
    state_bits=st.integers(2, 16),
    x_type=st.sampled_from(["uint8", "int16"]),
    multiplier=st.one_of(st.just(1), st.integers(1, 2**15 - 1), st.integers(2**30, 2**31 - 40)),
    shift=st.integers(0, 46),
    input_multiplier=st.one_of(st.just(1), st.integers(-40, 2**10)),
    input_shift=st.one_of(st.just(0), st.integers(2, 30)),
    recurrent_shift=st.integers(0, 2),
    cell_shift=st.integers(0, 15),
    output_shift=st.integers(0, 30),
    index_bits=st.integers(1, 12),
    cell_bits=st.integers(1, 12),
    per_row=st.booleans(),
    every_step=st.booleans(),
    random_tables=st.booleans(),
    powers=st.booleans(),
    extreme=st.booleans(),
    batch=st.integers(1, 3),
    steps=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
def test_random_layers(x_type: str, batch: int, steps: int, seed: int, extreme: bool, **chosen: Any) -> None:
    model, constants, attributes = layer(**chosen, x_type=x_type, seed=seed)
    reach = recurrent_reach(
        recurrent_weight=constants["recurrent_weight"],
        input_weight=constants["input_weight"],
        bias=constants["bias"],
        state=max(attributes["high"] - attributes["h_zero_point"], attributes["h_zero_point"] - attributes["low"]),
        x=252 if x_type == "uint8" else 2**15,
        recurrent_shift=attributes["recurrent_shift"],
        input_shift=attributes["input_shift"],
        input_multiplier=constants["input_multiplier"],
    )
    assume(reach.max() < INT32_REACH)
    feeds = random_feeds(constants, attributes, x_type, steps, batch, seed, extreme=extreme)
    found = agreed(model, feeds)
    states, cells = long_short_term_memory(feeds, constants, attributes)
    assert (found["y_h"] == states[-1]).all()
    assert (found["y_c"] == cells[-1]).all()


def test_the_largest_cell_state_saturates_and_does_not_wrap() -> None:
    """i = f = 1 and g = 32767: the sum of both products plus 2^30 is the largest that int32 holds."""
    model, constants, attributes = layer(hidden=2, inputs=1)
    for value in (32767, -32767):
        tables = {
            "gate_table": np.full(2**12, 2**14, np.int16),
            "candidate_table": np.full(2**12, value, np.int16),
        }
        changed = {name: tables.get(name, array) for name, array in constants.items()}
        shapes = {
            "x": np.zeros((1, 1, 1), np.uint8),
            "h0": np.zeros((1, 2), np.int16),
            "c0": np.zeros((1, 2), np.int16),
        }
        outputs = {"y": "int16", "y_h": "int16", "y_c": "int16"}
        model = one_node("LSTM", shapes, changed, NAMES, outputs, **attributes)
        feeds = shapes | {"x": np.ones((3, 1, 1), np.uint8), "c0": np.full((1, 2), np.sign(value) * 32767, np.int16)}
        assert agreed(model, feeds)["y_c"].tolist() == [[32767 if value > 0 else -32768] * 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((0, 1, 3), np.uint8)}, "T >= 1"),
        ({"x": np.zeros((2, 1, 2), np.uint8)}, "x has shape"),
        ({"h0": np.zeros((2, 11), np.int16)}, "h0 has shape"),
        ({"h0": np.zeros((1, 11), np.uint8)}, "h0 is uint8"),
        ({"h0": np.full((1, 11), 2048, np.int16)}, "h0: values reach"),
        ({"c0": np.zeros((2, 11), np.int16)}, "c0 has shape"),
        ({"c0": np.zeros((1, 11), np.uint8)}, "c0 is uint8"),
    ],
)
def test_what_the_contract_forbids_is_an_error_with_the_nodes_name(change: dict[str, Any], message: str) -> None:
    model, constants, attributes = layer()
    with pytest.raises(ContractError, match=message) as caught:
        ReferenceModel(model).run(random_feeds(constants, attributes, steps=2, batch=1) | change)
    assert "node" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("gate_table", np.full(4096, 2**14 + 1, np.int16), "gate_table: values reach"),
        ("candidate_table", np.full(4096, -(2**15), np.int16), "candidate_table: values reach"),
        ("candidate_table", np.zeros(2048, np.int16), "as many as gate_table"),
        ("cell_table", np.zeros(4095, np.int16), "cell_table has shape"),
        ("multiplier", np.ones(11, np.int32), "multiplier has shape"),
        ("recurrent_weight", np.zeros((33, 11), np.int8), "recurrent_weight has shape"),
        ("bias", np.zeros(11, np.int32), "bias has shape"),
    ],
)
def test_constants_that_the_contract_forbids(name: str, array: NDArray[Any], message: str) -> None:
    model, constants, attributes = layer()
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run(random_feeds(constants, attributes, steps=2, batch=1))


@pytest.mark.parametrize("change", [{"cell_shift": 16}, {"output_shift": 31}, {"input_shift": 31}])
def test_shifts_that_the_contract_forbids(change: dict[str, int]) -> None:
    model, constants, attributes = layer(**change)
    with pytest.raises(ContractError, match="shift"):
        ReferenceModel(model).run(random_feeds(constants, attributes, steps=2, batch=1))
