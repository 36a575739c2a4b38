"""FastRNN and FastGRNN: the reference, a definition in Python's integers, the bodies and onnxruntime give the same bits."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.fast_arrangement import arrange
from qdeploy.runtime.engines import open_engine
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node

UINT8, INT16 = 2, 5
INPUTS = 3
Arrays = dict[str, NDArray[Any]]


def layer(
    *,
    gated: bool = True,
    hidden: int = 9,
    rank: int | None = None,
    weight_bits: int = 8,
    state_bits: int = 12,
    x_type: str = "uint8",
    index_shift: int = 8,
    index_bits: int = 12,
    input_multiplier: int = 4,
    input_shift: int = 0,
    factor_shift: int = 8,
    kept: int = 15000,
    every: bool = True,
    random_tables: bool = False,
    knots: bool = False,
    seed: int = 0,
) -> tuple[Any, Arrays, dict[str, Any], Arrays]:
    """A model of one layer, its constants, its attributes, and feeds over the whole range of its types."""
    generator = np.random.default_rng(seed)
    top = (1 << (weight_bits - 1)) - 1
    half = 1 << (state_bits - 1)
    narrow = state_bits <= 8
    kind, zero_point = ("uint8", half) if narrow else ("int16", 0)
    state_shift = max(0, 15 - state_bits)
    biases = 2 if gated else 1
    size = 2**index_bits
    # One entry more than a power of two: those at some of 4096 indices.
    index = np.arange(-size // 2, size // 2 + knots) * (16 / size)
    unit = (half - 1) << state_shift
    tables: Arrays = {
        "gate_table": np.rint(2**14 / (1 + np.exp(-index))),
        "added_table": np.rint(0.9 * np.tanh(index) * unit * 2**14),
        "candidate_table": np.rint(0.7 * np.tanh(index) * unit),
    }
    if random_tables:
        limits = {
            "gate_table": (-(2**15), 2**15 - 1),
            "added_table": (-(2**29), 2**29),
            "candidate_table": (-unit, unit),
        }
        tables = {name: generator.integers(low, high + 1, size + knots) for name, (low, high) in limits.items()}
    kinds = {"gate_table": np.int16, "added_table": np.int32, "candidate_table": np.int16}
    inner = hidden if rank is None else rank
    constants: Arrays = {
        "input_weight": generator.integers(-top, top + 1, (hidden, INPUTS)).astype(np.int8),
        "recurrent_weight": generator.integers(-top, top + 1, (hidden, inner)).astype(np.int8),
        "bias": generator.integers(-(2**14), 2**14, biases * hidden).astype(np.int32),
        "input_multiplier": np.full(hidden, input_multiplier, np.int32),
        "index_shift": (index_shift + np.arange(biases * hidden) % 2).astype(np.int32),
        **{name: table.astype(kinds[name]) for name, table in tables.items() if gated or name == "added_table"},
    }
    if rank is not None:
        constants["factor"] = generator.integers(-top, top + 1, (rank, hidden)).astype(np.int8)
    attributes: dict[str, Any] = {
        "x_zero_point": 3 if x_type == "uint8" else 0,
        "h_zero_point": zero_point,
        "input_shift": input_shift,
        "factor_shift": factor_shift,
        "state_shift": state_shift,
        "low": zero_point - half,
        "high": zero_point + half - 1,
        "dtype": UINT8 if narrow else INT16,
    }
    if not gated:
        attributes["kept"] = kept
    x_low, x_high = (0, 256) if x_type == "uint8" else (-(2**15), 2**15)
    feeds = {
        "x": generator.integers(x_low, x_high, (7, 2, INPUTS)).astype(x_type),
        "h0": generator.integers(zero_point - half, zero_point + half, (2, hidden)).astype(kind),
    }
    outputs = {"y": kind if every else "", "y_h": kind}
    name = "FastGRNN" if gated else "FastRNN"
    return (
        one_node(name, feeds, constants, ["x", "h0", *constants], outputs, **attributes),
        constants,
        attributes,
        feeds,
    )


def definition(constants: Arrays, attributes: dict[str, Any], feeds: Arrays) -> NDArray[np.int64]:
    """Every state ``[T, B, H]``: the contract's equations in Python's integers, unit by unit."""
    c = {name: array.tolist() for name, array in constants.items()}
    a = attributes
    for name in ("gate_table", "added_table", "candidate_table"):
        if len(c.get(name, [])) % 2:
            own, c[name] = c[name], []
            apart = 4096 // (len(own) - 1)
            for start, end in itertools.pairwise(own):
                c[name] += [start + ((end - start) * k + apart // 2) // apart for k in range(apart)]
    hidden, size = len(c["input_weight"]), len(c["added_table"])

    def rounded(value: int, shift: int) -> int:
        return (value + (1 << shift >> 1)) >> shift

    def dot(row: list[int], vector: list[int]) -> int:
        return sum(weight * value for weight, value in zip(row, vector, strict=True))

    def place(value: int, shift: int) -> int:
        return min(size - 1, max(0, rounded(value, shift) + size // 2))

    states = []
    held = feeds["h0"].tolist()
    for x in feeds["x"].tolist():
        following = []
        for row, state in zip(x, held, strict=True):
            centred = [value - a["h_zero_point"] for value in state]
            inner = centred
            if "factor" in c:
                inner = [
                    min(255, max(0, rounded(dot(factor, centred), a["factor_shift"]) + 128)) - 128
                    for factor in c["factor"]
                ]
            given = [value - a["x_zero_point"] for value in row]
            following.append([])
            for unit in range(hidden):
                driven = rounded(dot(c["input_weight"][unit], given) * c["input_multiplier"][unit], a["input_shift"])
                total = dot(c["recurrent_weight"][unit], inner) + driven
                lifted = centred[unit] << a["state_shift"]
                if "gate_table" in c:
                    i = place(total + c["bias"][unit], c["index_shift"][unit])
                    j = place(total + c["bias"][hidden + unit], c["index_shift"][hidden + unit])
                    mixed = c["added_table"][j] + c["gate_table"][i] * (lifted - c["candidate_table"][j])
                else:
                    j = place(total + c["bias"][unit], c["index_shift"][unit])
                    mixed = c["added_table"][j] + a["kept"] * lifted
                value = rounded(mixed, 14 + a["state_shift"]) + a["h_zero_point"]
                following[-1].append(min(a["high"], max(a["low"], value)))
        held = following
        states.append(held)
    return np.array(states)


CASES: dict[str, dict[str, Any]] = {
    "rows": {},
    "direct": {"state_bits": 8},
    "two_bits": {"state_bits": 2, "weight_bits": 2, "index_shift": 3},
    "sixteen_bits": {"state_bits": 16, "weight_bits": 4, "index_shift": 10},
    "low_rank": {"rank": 3},
    "low_rank_direct": {"rank": 3, "state_bits": 8, "weight_bits": 4, "factor_shift": 4},
    "requantized": {"input_multiplier": 29000, "input_shift": 12},
    "wide_input": {"x_type": "int16", "input_multiplier": 1},
    "a_long_reach": {"index_shift": 2, "index_bits": 10},
    "few_entries": {"index_bits": 1, "index_shift": 12},
    "many_units": {"hidden": 300, "weight_bits": 3, "index_shift": 10},
    "last": {"every": False},
    "last_direct": {"every": False, "state_bits": 8},
    "one_unit": {"hidden": 1, "rank": 1},
    "any_table": {"random_tables": True},
    "knots": {"knots": True, "index_bits": 5},
    "knots_direct": {"knots": True, "index_bits": 7, "state_bits": 8},
    "few_knots": {"knots": True, "index_bits": 1, "random_tables": True},
    "knots_everywhere": {"knots": True, "index_bits": 12},
    "knots_of_a_long_reach": {"knots": True, "index_bits": 6, "index_shift": 0, "input_multiplier": 2**12},
}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_every_voice_gives_the_definitions_bits(name: str, gated: bool) -> None:
    model, constants, attributes, feeds = layer(gated=gated, **CASES[name])
    # onnx.reference has no GatherElements of many indices.
    found = agreed(model, feeds, onnx_reference=name != "many_units", inlined=True)
    states = definition(constants, attributes, feeds)
    assert (found["y_h"] == states[-1]).all()
    if "y" in found:
        assert (found["y"] == states).all()
    assert len(np.unique(states)) > 1


def test_the_cases_reach_every_arrangement() -> None:
    seen = [
        arrange(next(sites(layer(gated=gated, **case)[0])), gated=gated) for case in CASES.values() for gated in (0, 1)
    ]
    for choice in (
        "gated",
        "requantized_input",
        "wide_state",
        "table_bits",
        "factor_form",
        "flat",
        "all_steps",
        "knots",
    ):
        assert {bool(getattr(one, choice)) for one in seen} == {False, True}, choice
    assert {one.form for one in seen} == {"s8", "u8"}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("name", ["rows", "direct", "low_rank"])
def test_any_split_and_every_sequence_alone_give_the_same_bits(name: str, gated: bool) -> None:
    model, _, _, feeds = layer(gated=gated, **CASES[name])
    whole = agreed(model, feeds)
    engine = open_engine("onnxruntime", attach_bodies(model))
    held, parts = feeds["h0"], []
    for start, stop in ((0, 1), (1, 2), (2, 6), (6, 7)):
        part = engine.run({"x": feeds["x"][start:stop], "h0": held})
        held = part["y_h"]
        parts.append(part["y"])
    assert (np.concatenate(parts) == whole["y"]).all()
    for sequence in range(2):
        alone = engine.run({name: array[..., sequence : sequence + 1, :] for name, array in feeds.items()})
        assert (alone["y"][:, 0] == whole["y"][:, sequence]).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"index_shift": np.full(18, 31, np.int32)}, "index_shift reaches"),
        ({"gate_table": np.zeros(4096, np.int32)}, "gate_table"),
        ({"bias": np.zeros(9, np.int32)}, "bias has shape"),
        ({"added_table": np.zeros(8, np.int32)}, "one size"),
        ({"added_table": np.full(4096, 2**31 - 1, np.int32)}, "a sum of states could reach"),
        ({"bias": np.full(18, 2**31 - 1, np.int32)}, "a pre-activation could reach"),
    ],
)
def test_what_the_contract_forbids_is_refused(changed: Arrays, words: str) -> None:
    _, constants, attributes, feeds = layer()
    constants |= changed
    kinds = {"y": "int16", "y_h": "int16"}
    model = one_node("FastGRNN", feeds, constants, ["x", "h0", *constants], kinds, **attributes)
    with pytest.raises(ContractError, match=words):
        ReferenceModel(model).run(feeds)
