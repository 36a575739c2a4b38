"""GRUResetBefore: what its contract refuses, and what it promises of streams, batches and extremes."""

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


def layer(
    state_bits: int, *, hidden: int = HIDDEN, every: bool = True, shifts: bool = False, **changed: Any
) -> tuple[Any, Arrays]:
    """A random layer, and feeds over the whole range of its types; ``changed`` replaces constants or attributes."""
    generator = np.random.default_rng(3)
    half, narrow, state_shift = 1 << (state_bits - 1), state_bits <= 8, 16 - state_bits
    kind, zero_point = ("uint8", half) if narrow else ("int16", 0)
    index = np.arange(-2048, 2048) / 256
    multiplier = generator.integers(1 << 12, 1 << 13, 3 * hidden)
    if shifts:
        multiplier = np.left_shift(1, np.arange(3 * hidden) // hidden % 2 + 11)
    constants: Arrays = {
        "input_weight": generator.integers(-127, 128, (3 * hidden, INPUTS)).astype(np.int8),
        "recurrent_weight": generator.integers(-127, 128, (3 * hidden, hidden)).astype(np.int8),
        "bias": generator.integers(-9000, 9000, 3 * hidden).astype(np.int32),
        "input_multiplier": generator.integers(1 << 20, 1 << 21, 3 * hidden).astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "sigmoid_table": np.clip(np.rint(2**15 / (1 + np.exp(-index))), 0, 2**15 - 1).astype(np.int16),
        "tanh_table": np.rint(np.tanh(index) * ((half - 1) << state_shift)).astype(np.int16),
    }
    attributes: dict[str, Any] = {
        "x_zero_point": 3,
        "h_zero_point": zero_point,
        "input_shift": 18,
        "shift": 12 + max(0, state_bits - 6),
        "state_shift": state_shift if state_shift < 15 else 14,
        "low": zero_point - half,
        "high": zero_point + half - 1,
        "dtype": UINT8 if narrow else INT16,
    }
    constants |= {name: value for name, value in changed.items() if name in constants}
    attributes |= {name: value for name, value in changed.items() if name in attributes}
    feeds = {
        "x": generator.integers(0, 256, (12, 4, INPUTS)).astype(np.uint8),
        "h0": generator.integers(zero_point - half, zero_point + half, (4, hidden)).astype(kind),
    }
    outputs = {"y": kind if every else "", "y_h": kind}
    return one_node("GRUResetBefore", feeds, constants, ["x", "h0", *constants], outputs, **attributes), feeds


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("shifts", [True, False])
@pytest.mark.parametrize("state_bits", [2, 8, 9, 12, 16])
def test_every_engine_gives_the_contracts_bits(state_bits: int, shifts: bool, every: bool) -> None:
    model, feeds = layer(state_bits, every=every, shifts=shifts)
    found = agreed(model, feeds, onnx_reference=True, inlined=True)
    assert len(np.unique(found["y_h"])) > 2
    arrangement = attach_bodies(model).graph.node[0].op_type
    assert operator_name(arrangement) == "GRUResetBefore"
    assert ("direct" in arrangement, "_all" in arrangement) == (state_bits <= 8, every)
    assert ("_divide" in arrangement) == shifts


@pytest.mark.parametrize("state_bits", [8, 12])
@pytest.mark.parametrize(("hidden", "word"), [(128, "_flatgates_"), (256, "_flat_")])
def test_wide_layers_look_up_over_flat_indices(state_bits: int, hidden: int, word: str) -> None:
    model, feeds = layer(state_bits, hidden=hidden, shifts=True)
    agreed(model, feeds)
    assert word in attach_bodies(model).graph.node[0].op_type


@pytest.mark.parametrize("shifts", [True, False])
@pytest.mark.parametrize(("state_bits", "word"), [(9, "_sevenss8_"), (14, "_sevenss8_"), (15, "_rowsu8_")])
def test_wide_states_of_many_units_are_rows_of_seven_bits(state_bits: int, word: str, shifts: bool) -> None:
    model, feeds = layer(state_bits, hidden=256, shifts=shifts)
    agreed(model, feeds)
    assert word in attach_bodies(model).graph.node[0].op_type


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


@pytest.mark.parametrize("shifts", [True, False])
@pytest.mark.parametrize("state_bits", [8, 12, 16])
def test_extremes_stay_in_the_range(state_bits: int, shifts: bool) -> None:
    """Gates open and close at random, candidates and states are the ends of the range."""
    half, zero_point = 1 << (state_bits - 1), (1 << (state_bits - 1)) if state_bits <= 8 else 0
    lift = 1 << (16 - state_bits)
    ends = np.where(np.arange(4096) % 2, (half - 1) * lift, -half * lift)
    model, feeds = layer(
        state_bits,
        shifts=shifts,
        sigmoid_table=np.where(np.arange(4096) % 2, 2**15 - 1, 0).astype(np.int16),
        tanh_table=ends.astype(np.int16),
    )
    feeds["h0"] = np.where(
        np.arange(4 * HIDDEN).reshape(4, HIDDEN) % 2, zero_point - half, zero_point + half - 1
    ).astype(feeds["h0"].dtype)
    found = agreed(model, feeds)["y"].astype(int)
    assert (found.min(), found.max()) == (zero_point - half, zero_point + half - 1)


def test_an_open_gate_keeps_the_state() -> None:
    """z = 1 - 2^-15 moves a state of 12 bits nowhere, for as long as one likes."""
    model, feeds = layer(12, sigmoid_table=np.full(4096, 2**15 - 1, np.int16))
    found = agreed(model, feeds | {"h0": (feeds["h0"] // 4).astype(np.int16)})
    assert (found["y_h"] == feeds["h0"] // 4).all()


def test_a_closed_reset_gate_forgets_the_state() -> None:
    """r = 0 and z = 0: the new state depends on the input alone."""
    model, feeds = layer(12, sigmoid_table=np.zeros(4096, np.int16))
    found = agreed(model, feeds)
    again = agreed(model, feeds | {"h0": np.zeros_like(feeds["h0"])})
    assert (found["y"] == again["y"]).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shift": 31}, "shift is 31"),
        ({"input_shift": 31}, "input_shift is 31"),
        ({"state_shift": 15}, "state_shift is 15"),
        ({"state_shift": 5}, "leaves int16"),
        ({"h_zero_point": -2049}, "h_zero_point is -2049; expected -2048 to 2047"),
        ({"sigmoid_table": np.full(4096, -1, np.int16)}, "sigmoid_table"),
        ({"sigmoid_table": np.zeros(4095, np.int16)}, r"sigmoid_table has shape \[4095\]"),
        ({"tanh_table": np.full(4096, 2**15 - 1, np.int16)}, "tanh_table: values reach"),
        ({"multiplier": np.full(3 * HIDDEN, -1, np.int32)}, "multiplier has an entry of -1"),
        ({"multiplier": np.ones(1, np.int32)}, r"multiplier has shape \[1\]"),
        ({"recurrent_weight": np.zeros((2 * HIDDEN, HIDDEN), np.int8)}, "recurrent_weight has shape"),
        ({"input_weight": np.zeros((3 * HIDDEN, INPUTS), np.int16)}, "input_weight is int16"),
    ],
)
def test_what_the_contract_forbids_is_refused(changed: dict[str, Any], words: str) -> None:
    if "h_zero_point" in changed:
        changed = changed | {"state_shift": 0}
    model, feeds = layer(12, **changed)
    with pytest.raises(ContractError, match=f"node node.*{words}"):
        ReferenceModel(model).run(feeds)


def test_states_outside_their_bounds_are_refused() -> None:
    model, feeds = layer(12)
    feeds["h0"][0, 0] = 2048
    with pytest.raises(ContractError, match="h0"):
        ReferenceModel(model).run(feeds)


def test_an_input_that_leaves_int32_is_an_error() -> None:
    model, feeds = layer(12, bias=np.full(3 * HIDDEN, 2**31 - 1, np.int32))
    with pytest.raises(ContractError, match="input of step 0: the accumulator reached"):
        ReferenceModel(model).run(feeds)
