"""GRU: what its contract refuses, and what it promises of streams, batches and extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.gru_arrangement import arrange
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.ops import operator_name
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node

UINT8, INT16 = 2, 5
HIDDEN, INPUTS = 7, 3
Arrays = dict[str, NDArray[Any]]


def layer(state_bits: int, *, every: bool = True, units: int = HIDDEN, **changed: Any) -> tuple[Any, Arrays]:
    """A random layer, and feeds over the whole range of its types; ``changed`` replaces constants or attributes."""
    generator = np.random.default_rng(3)
    half = 1 << (state_bits - 1)
    narrow = state_bits <= 8
    kind, zero_point = ("uint8", half) if narrow else ("int16", 0)
    state_shift = 16 - state_bits
    index = np.arange(-2048, 2048) / 256
    constants: Arrays = {
        "input_weight": generator.integers(-127, 128, (3 * units, INPUTS)).astype(np.int8),
        "recurrent_weight": generator.integers(-127, 128, (3 * units, units)).astype(np.int8),
        "bias": generator.integers(-9000, 9000, 3 * units).astype(np.int32),
        "recurrent_bias": generator.integers(-9000, 9000, units).astype(np.int32),
        "input_multiplier": generator.integers(1 << 20, 1 << 21, 3 * units).astype(np.int32),
        "multiplier": generator.integers(1 << 12, 1 << 13, 3 * units).astype(np.int32),
        "sigmoid_table": np.clip(np.rint(2**15 / (1 + np.exp(-index))), 0, 2**15 - 1).astype(np.int16),
        "tanh_table": np.rint(np.tanh(index) * ((half - 1) << state_shift)).astype(np.int16),
    }
    attributes: dict[str, Any] = {
        "x_zero_point": 3,
        "h_zero_point": zero_point,
        "input_shift": 18,
        "shift": 12 + state_bits - 6,
        "candidate_shift": 15,
        "state_shift": state_shift,
        "low": zero_point - half,
        "high": zero_point + half - 1,
        "dtype": UINT8 if narrow else INT16,
    }
    constants |= {name: value for name, value in changed.items() if name in constants}
    attributes |= {name: value for name, value in changed.items() if name in attributes}
    feeds = {
        "x": generator.integers(0, 256, (12, 4, INPUTS)).astype(np.uint8),
        "h0": generator.integers(zero_point - half, zero_point + half, (4, units)).astype(kind),
    }
    outputs = {"y": kind if every else "", "y_h": kind}
    return one_node("GRU", feeds, constants, ["x", "h0", *constants], outputs, **attributes), feeds


SHIFTS: dict[str, dict[str, Any]] = {
    # A sum reaches 7 * 127 * 2^(bits-1) and what drives it.
    "tables": {"shift": 8, "candidate_shift": 17, "input_multiplier": 4},
    "one_divisor": {"shift": 8, "candidate_shift": 17, "input_multiplier": 4, "recalled": 1},
    "a_clipped_candidate": {"shift": 6, "candidate_shift": 8, "input_multiplier": 2},
    "rows_apart": {"shift": 12, "candidate_shift": 16, "input_multiplier": 1, "multiplier": 8},
    "few_entries": {"shift": 14, "candidate_shift": 17, "input_multiplier": 1},
    "no_room_for_tables": {"shift": 0, "candidate_shift": 15, "input_multiplier": 1},
    "a_drive_that_is_clipped": {"shift": 8, "candidate_shift": 17, "input_multiplier": 1 << 16},
}


def shifts(case: str, state_bits: int) -> dict[str, Any]:
    """Constants and attributes whose sums are closed by powers of two, those of z by another than those of r."""
    chosen = SHIFTS[case]
    gates = np.repeat([1, chosen.get("multiplier", 1), chosen.get("recalled", 2)], HIDDEN)
    return {
        "multiplier": gates.astype(np.int32),
        "input_multiplier": np.full(3 * HIDDEN, chosen["input_multiplier"], np.int32),
        "input_shift": 0,
        "shift": min(30, chosen["shift"] + max(0, state_bits - 8)),
        "candidate_shift": chosen["candidate_shift"],
    }


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("case", SHIFTS)
@pytest.mark.parametrize("state_bits", [2, 8, 12, 16])
def test_shifts_give_the_contracts_bits(state_bits: int, case: str, every: bool) -> None:
    model, feeds = layer(state_bits, every=every, **shifts(case, state_bits))
    found = agreed(model, feeds, onnx_reference=True, inlined=True)
    assert len(np.unique(found["y_h"])) >= 2


def test_the_shifts_reach_every_arrangement() -> None:
    chosen = [arrange(next(sites(layer(bits, **shifts(case, bits))[0]))) for bits in (2, 8, 12, 16) for case in SHIFTS]
    assert {one.divided for one in chosen} == {False, True}
    divided = [one for one in chosen if one.divided]
    for choice in ("wide_state", "candidate_bits", "lifted", "even"):
        assert {bool(getattr(one, choice)) for one in divided} == {False, True}, choice


@settings(deadline=None)
@given(
    state_bits=st.integers(2, 16),
    shift=st.integers(0, 20),
    candidate_shift=st.integers(0, 17),
    powers=st.tuples(st.integers(0, 12), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    bits=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    every=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_random_shifts(
    state_bits: int, shift: int, candidate_shift: int, powers: Any, bits: Any, every: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    half = 1 << (state_bits - 1)
    state_shift = 16 - state_bits
    model, feeds = layer(
        state_bits,
        every=every,
        input_weight=generator.integers(-127, 128, (3 * HIDDEN, INPUTS)).astype(np.int8),
        recurrent_weight=generator.integers(-127, 128, (3 * HIDDEN, HIDDEN)).astype(np.int8),
        input_multiplier=np.full(3 * HIDDEN, 1 << powers[0], np.int32),
        multiplier=np.repeat([1 << power for power in powers[1:]], HIDDEN).astype(np.int32),
        sigmoid_table=generator.integers(0, 2**15, 2 ** bits[0]).astype(np.int16),
        tanh_table=generator.integers(-half << state_shift, ((half - 1) << state_shift) + 1, 2 ** bits[1]).astype(
            np.int16
        ),
        input_shift=0,
        shift=shift,
        candidate_shift=candidate_shift,
    )
    agreed(model, feeds)


@pytest.mark.parametrize("hidden", [90, 300])
def test_many_units_look_up_flat_indices(hidden: int) -> None:
    generator = np.random.default_rng(0)
    model, feeds = layer(
        12,
        input_shift=0,
        shift=12,
        candidate_shift=17,
        units=hidden,
        multiplier=np.ones(3 * hidden, np.int32),
        input_multiplier=np.ones(3 * hidden, np.int32),
        recurrent_weight=generator.integers(-3, 4, (3 * hidden, hidden)).astype(np.int8),
    )
    chosen = arrange(next(sites(model)))
    assert (chosen.divided, chosen.flat_gates, chosen.flat_candidate) == (True, True, hidden == 300)
    # onnx.reference has no GatherElements of so many indices.
    agreed(model, feeds)


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("state_bits", [2, 7, 8, 9, 12, 16])
def test_every_engine_gives_the_contracts_bits(state_bits: int, every: bool) -> None:
    model, feeds = layer(state_bits, every=every)
    found = agreed(model, feeds, onnx_reference=True, inlined=True)
    assert len(np.unique(found["y_h"])) > 2
    arrangement = attach_bodies(model).graph.node[0].op_type
    assert operator_name(arrangement) == "GRU"
    assert ("direct" in arrangement, "_all" in arrangement) == (state_bits <= 8, every)


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
    """Gates and candidates at their ends: the states reach both ends of their range and no further."""
    size = 4096
    ends = {}
    half = 1 << (state_bits - 1)
    least, largest = -half << (16 - state_bits), (half - 1) << (16 - state_bits)
    for end in (least, largest):
        model, feeds = layer(
            state_bits,
            sigmoid_table=np.where(np.arange(size) % 2, 2**15 - 1, 0).astype(np.int16),
            tanh_table=np.full(size, end, np.int16),
        )
        ends[end] = agreed(model, feeds)["y"].astype(int)
    zero_point = half if state_bits <= 8 else 0
    assert ends[least].min() == zero_point - half
    assert ends[largest].max() == zero_point + half - 1


def test_an_open_update_gate_keeps_the_state() -> None:
    """z = 1 - 2^-15 moves a state of 12 bits nowhere, for as long as one likes."""
    model, feeds = layer(12, sigmoid_table=np.full(4096, 2**15 - 1, np.int16))
    found = agreed(model, feeds | {"h0": (feeds["h0"] // 4).astype(np.int16)})
    assert (found["y_h"] == feeds["h0"] // 4).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shift": 31}, "shift is 31"),
        ({"state_shift": 15}, "state_shift is 15"),
        ({"state_shift": 5}, "leaves int16"),
        ({"sigmoid_table": np.full(4096, -1, np.int16)}, "sigmoid_table"),
        ({"sigmoid_table": np.zeros(4095, np.int16)}, r"sigmoid_table has shape \[4095\]"),
        ({"tanh_table": np.full(4096, 2**15 - 1, np.int16)}, "tanh_table"),
        ({"multiplier": np.full(3 * HIDDEN, -1, np.int32)}, "multiplier has an entry of -1"),
        ({"multiplier": np.ones(1, np.int32)}, r"multiplier has shape \[1\]"),
        ({"recurrent_bias": np.zeros(3 * HIDDEN, np.int32)}, "recurrent_bias has shape"),
        ({"recurrent_weight": np.zeros((4 * HIDDEN, HIDDEN), np.int8)}, "recurrent_weight has shape"),
        ({"input_weight": np.zeros((3 * HIDDEN, INPUTS), np.int16)}, "input_weight is int16"),
    ],
)
def test_what_the_contract_forbids_is_refused(changed: dict[str, Any], words: str) -> None:
    model, feeds = layer(12, **changed)
    with pytest.raises(ContractError, match=f"node node.*{words}"):
        ReferenceModel(model).run(feeds)


def test_states_outside_their_bounds_are_refused() -> None:
    model, feeds = layer(12)
    feeds["h0"][0, 0] = 2048
    with pytest.raises(ContractError, match="h0"):
        ReferenceModel(model).run(feeds)


def test_an_accumulator_that_leaves_int32_is_an_error() -> None:
    model, feeds = layer(16, recurrent_bias=np.full(HIDDEN, 2**31 - 1, np.int32))
    feeds["h0"][...] = 2**15 - 1
    feeds["h0"][1] = -(2**15)
    with pytest.raises(ContractError, match="candidate of step 0: the accumulator reached"):
        ReferenceModel(model).run(feeds)


@pytest.mark.parametrize("divided", [True, False])
@pytest.mark.parametrize(("state_bits", "word"), [(9, "_sevenss8_"), (14, "_sevenss8_"), (15, "_rowsu8_")])
def test_wide_states_of_many_units_are_rows_of_seven_bits(state_bits: int, word: str, divided: bool) -> None:
    rows = 3 * 256
    powers = {
        "input_multiplier": np.full(rows, 4, np.int32),
        "multiplier": np.ones(rows, np.int32),
        "input_shift": 0,
        "shift": state_bits + 2,
        "candidate_shift": 17,
    }
    model, feeds = layer(state_bits, units=256, **(powers if divided else {}))
    agreed(model, feeds)
    found = attach_bodies(model).graph.node[0].op_type
    assert word in found
    assert ("_table" in found) == divided
