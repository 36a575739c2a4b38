"""LiGRU: what its contract refuses, and what it promises of streams, batches and extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdeploy.export.onnx import attach_bodies
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.ops import operator_name
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node

UINT8, INT16 = 2, 5
HIDDEN, INPUTS = 7, 3
Arrays = dict[str, NDArray[Any]]
SIGMOID = np.clip(np.rint(2**15 / (1 + np.exp(-np.arange(-2048, 2048) / 256))), 0, 2**15 - 1).astype(np.int16)


def layer(
    state_bits: int,
    *,
    hidden: int = HIDDEN,
    every: bool = True,
    relu: bool = False,
    table: bool = False,
    **changed: Any,
) -> tuple[Any, Arrays]:
    """A random layer, and feeds over the whole range of its types; ``changed`` replaces constants or attributes."""
    generator = np.random.default_rng(3)
    narrow = state_bits <= 8
    half = 0 if relu else 1 << (state_bits - 1)
    kind, zero_point = ("uint8", half) if narrow else ("int16", 0)
    low, high = zero_point - half, zero_point - half + (1 << state_bits) - 1
    state_shift = (15 if relu else 16) - state_bits
    constants: Arrays = {
        "input_weight": generator.integers(-127, 128, (2 * hidden, INPUTS)).astype(np.int8),
        "recurrent_weight": generator.integers(-127, 128, (2 * hidden, hidden)).astype(np.int8),
        "bias": generator.integers(-9000, 9000, 2 * hidden).astype(np.int32),
        "input_multiplier": generator.integers(1 << 20, 1 << 21, 2 * hidden).astype(np.int32),
        "multiplier": np.ones(1, np.int32),
        "sigmoid_table": SIGMOID,
    }
    if table:
        ends = (low - zero_point) << state_shift, (high - zero_point) << state_shift
        constants["candidate_table"] = np.rint(np.linspace(*ends, 4096)).astype(np.int16)
    attributes: dict[str, Any] = {
        "x_zero_point": 3,
        "h_zero_point": zero_point,
        "input_shift": 18,
        "shift": max(0, state_bits - 6),
        "gate_shift": 3,
        "candidate_multiplier": 1 if table else 3,
        "candidate_shift": 4 if table else 1,
        "slope": 0 if relu or table else 328,
        "state_shift": state_shift,
        "low": low,
        "high": high,
        "dtype": UINT8 if narrow else INT16,
    }
    names = set(constants) | {"candidate_table"}
    constants |= {name: value for name, value in changed.items() if name in names}
    attributes |= {name: value for name, value in changed.items() if name in attributes}
    feeds = {
        "x": generator.integers(0, 256, (12, 4, INPUTS)).astype(np.uint8),
        "h0": generator.integers(low, high, (4, hidden), endpoint=True).astype(kind),
    }
    outputs = {"y": kind if every else "", "y_h": kind}
    return one_node("LiGRU", feeds, constants, ["x", "h0", *constants], outputs, **attributes), feeds


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("activation", ["relu", "leaky", "table"])
@pytest.mark.parametrize("state_bits", [2, 8, 9, 12, 15])
def test_every_engine_gives_the_contracts_bits(state_bits: int, activation: str, every: bool) -> None:
    model, feeds = layer(state_bits, every=every, relu=activation == "relu", table=activation == "table")
    found = agreed(model, feeds, onnx_reference=True, inlined=True)
    assert len(np.unique(found["y_h"])) > 2
    arrangement = attach_bodies(model).graph.node[0].op_type
    assert operator_name(arrangement) == "LiGRU"
    assert ("direct" in arrangement, "_all" in arrangement) == (state_bits <= 8, every)
    assert ("_table_" in arrangement, "_divide" in arrangement) == (activation == "table", True)


@pytest.mark.parametrize("state_bits", [8, 12])
def test_multipliers_of_rows_and_wide_layers(state_bits: int) -> None:
    rows = np.random.default_rng(0).integers(1 << 10, 1 << 12, 2 * HIDDEN).astype(np.int32)
    model, feeds = layer(state_bits, multiplier=rows, shift=11 + state_bits - 6)
    agreed(model, feeds)
    assert "_multiply_" in attach_bodies(model).graph.node[0].op_type
    # From 256 units on, look-ups go over flat indices.
    model, feeds = layer(state_bits, hidden=256)
    agreed(model, feeds)
    assert "_flat_" in attach_bodies(model).graph.node[0].op_type


@pytest.mark.parametrize(("state_bits", "word"), [(9, "digitss8"), (14, "digitss8"), (15, "rowsu8"), (16, "rowsu8")])
def test_large_layers_hold_wide_states_as_digits(state_bits: int, word: str) -> None:
    model, feeds = layer(state_bits, hidden=256)
    found = agreed(model, feeds)
    assert len(np.unique(found["y"])) > 100
    assert f"_{word}_" in attach_bodies(model).graph.node[0].op_type


@pytest.mark.parametrize("state_bits", [8, 12])
def test_any_split_and_every_sequence_alone_give_the_same_bits(state_bits: int) -> None:
    model, feeds = layer(state_bits)
    whole = agreed(model, feeds)
    engine = open_engine("onnxruntime", attach_bodies(model))
    for size in (1, 5):
        held, parts = feeds["h0"], []
        for start in range(0, len(feeds["x"]), size):
            found = engine.run({"x": feeds["x"][start : start + size], "h0": held})
            held = found["y_h"]
            parts.append(found["y"])
        assert (np.concatenate(parts) == whole["y"]).all()
        assert (held == whole["y_h"]).all()
    for row in range(feeds["x"].shape[1]):
        alone = {"x": feeds["x"][:, row : row + 1], "h0": feeds["h0"][row : row + 1]}
        assert (engine.run(alone)["y"][:, 0] == whole["y"][:, row]).all()


@pytest.mark.parametrize("state_bits", [8, 12, 16])
def test_a_mix_of_gate_and_state_stays_in_the_range(state_bits: int) -> None:
    """Gates open and close at random and candidates beyond the range: states reach both ends of it and no further."""
    model, feeds = layer(
        state_bits,
        sigmoid_table=np.where(np.arange(4096) % 2, 2**15 - 1, 0).astype(np.int16),
        candidate_multiplier=2**31 - 1,
        candidate_shift=0,
        slope=2**15 - 1,
    )
    found = agreed(model, feeds)["y"].astype(int)
    half, zero_point = 1 << (state_bits - 1), (1 << (state_bits - 1)) if state_bits <= 8 else 0
    assert (found.min(), found.max()) == (zero_point - half, zero_point + half - 1)


def test_an_open_gate_keeps_the_state() -> None:
    """z = 1 - 2^-15 moves a state of 12 bits nowhere, for as long as one likes."""
    model, feeds = layer(12, sigmoid_table=np.full(4096, 2**15 - 1, np.int16))
    found = agreed(model, feeds | {"h0": (feeds["h0"] // 4).astype(np.int16)})
    assert (found["y_h"] == feeds["h0"] // 4).all()


def test_a_rectifier_without_slope_gives_no_negative_state() -> None:
    model, feeds = layer(12, relu=True)
    found = agreed(model, feeds | {"h0": np.zeros_like(feeds["h0"])})["y"]
    assert found.min() == 0
    assert found.max() > 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shift": 31}, "shift is 31"),
        ({"gate_shift": 16}, "gate_shift is 16"),
        ({"candidate_shift": 47}, "candidate_shift is 47"),
        ({"candidate_multiplier": -1}, "candidate_multiplier is -1"),
        ({"slope": 2**15}, "slope is 32768"),
        ({"candidate_table": np.zeros(64, np.int16)}, "slope is 328; expected 0 to 0"),
        ({"candidate_table": np.full(64, 2**15 - 1, np.int16), "slope": 0}, "candidate_table: values reach"),
        ({"state_shift": 15}, "state_shift is 15"),
        ({"state_shift": 5}, "leaves int16"),
        ({"sigmoid_table": np.full(4096, -1, np.int16)}, "sigmoid_table"),
        ({"sigmoid_table": np.zeros(4095, np.int16)}, r"sigmoid_table has shape \[4095\]"),
        ({"multiplier": np.full(2 * HIDDEN, -1, np.int32)}, "multiplier has an entry of -1"),
        ({"multiplier": np.ones(3, np.int32)}, r"multiplier has shape \[3\]"),
        ({"recurrent_weight": np.zeros((3 * HIDDEN, HIDDEN), np.int8)}, "recurrent_weight has shape"),
        ({"input_weight": np.zeros((2 * HIDDEN, INPUTS), np.int16)}, "input_weight is int16"),
    ],
)
def test_what_the_contract_forbids_is_refused(changed: dict[str, Any], words: str) -> None:
    model, feeds = layer(12, **changed)
    with pytest.raises(ContractError, match=f"node node.*{words}"):
        ReferenceModel(model).run(feeds)


@pytest.mark.parametrize(
    "changed",
    [{"bias": np.zeros(HIDDEN, np.int32)}, {"state_shift": 2**47}, {"shift": -1}],
    ids=["bias", "state_shift", "shift"],
)
def test_no_body_is_written_for_a_file_that_was_changed(changed: dict[str, Any]) -> None:
    model, _ = layer(12, **changed)
    with pytest.raises(ContractError, match="node node"):
        attach_bodies(model)


def test_states_outside_their_bounds_are_refused() -> None:
    model, feeds = layer(12)
    feeds["h0"][0, 0] = 2048
    with pytest.raises(ContractError, match="h0"):
        ReferenceModel(model).run(feeds)


def test_an_input_that_leaves_int32_is_an_error() -> None:
    model, feeds = layer(12, bias=np.full(2 * HIDDEN, 2**31 - 1, np.int32))
    with pytest.raises(ContractError, match="input of step 0: the accumulator reached"):
        ReferenceModel(model).run(feeds)
