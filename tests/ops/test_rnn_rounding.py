"""RNN with ties to even: the reference, the bodies and a definition of its own agree; what the rule forbids."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from qdeploy.export.onnx import attach_bodies
from qdeploy.export.onnx.attach import sites
from qdeploy.export.onnx.rnn_arrangement import arrange
from qdeploy.runtime.errors import ContractError, UnsupportedModelError
from qdeploy.runtime.ops.rounded_loop import input_copies
from qdeploy.runtime.reference import ReferenceModel
from qdeploy.runtime.rounding import requantize

from .agreement import agreed
from .kernel_rules import by_rule
from .test_rnn import network, random_feeds

CASES: dict[str, dict[str, Any]] = {
    "relu": {"multiplier": 23, "shift": 11},
    "relu, few units": {"hidden": 3, "multiplier": 5, "shift": 9, "weight_bits": 2, "bias": 90},
    "relu, power of two": {"multiplier": 1, "shift": 7, "bias": 300},
    "many ties": {"hidden": 5, "weight_bits": 3, "multiplier": 1, "shift": 2, "bias": 40},
    "linear": {"activation": "linear", "multiplier": 23, "shift": 11, "zero_point": 128},
    "linear, per channel": {
        "activation": "linear", "multiplier": 9, "shift": 11, "zero_point": 120, "per_channel": True,
    },
    "shifted": {"inputs": 2, "input_shift": 2, "recurrent_shift": 1, "multiplier": 11, "shift": 12},
    "wide sums": {"hidden": 90, "weight_bits": 8, "multiplier": 1, "shift": 15, "bias": 200_000},
    "beyond a table": {"hidden": 40, "weight_bits": 8, "multiplier": 1, "shift": 16, "input_shift": 3, "bias": 9_000_000},
}  # fmt: skip


def expected(model: Any, about: dict[str, Any], feeds: dict[str, Any]) -> Any:
    """Every state, in Python's integers."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor).astype(object) for tensor in model.graph.initializer}
    h, states = feeds["h0"].astype(object), []
    for x in feeds["x"].astype(object):
        recurrent = (h - about["h_zero_point"]).dot(constants["w"].T) * 2 ** about["recurrent_shift"]
        driven = (x - about["x_zero_point"]).dot(constants["u"].T) * 2 ** about["input_shift"]
        accumulator = recurrent + driven + constants["b"]
        ends = (about[name] for name in ("shift", "h_zero_point", "low", "high"))
        h = by_rule(about["rounding"], accumulator, constants["m"], *ends)
        states.append(h)
    return np.stack(states)


@pytest.mark.parametrize("name", CASES)
def test_every_voice_rounds_ties_to_even(name: str) -> None:
    model, about = network(**CASES[name], rounding="half_even")
    feeds = random_feeds(about)
    found = agreed(model, feeds)["y"]
    assert (found == expected(model, about, feeds)).all()


SINGLE: dict[str, dict[str, Any]] = {
    "grid of 24 bits": {"multiplier": 11_863_283, "shift": 30},
    "linear, 24 bits": {"multiplier": 16_777_213, "shift": 31, "activation": "linear", "zero_point": 117},
    "few units": {"hidden": 3, "weight_bits": 2, "multiplier": 9_000_001, "shift": 24, "bias": 90},
    "no shift": {"hidden": 3, "weight_bits": 2, "multiplier": 3, "shift": 0, "bias": 20},
    "one bit": {"multiplier": 1, "shift": 6, "hidden": 5, "weight_bits": 3},
}


@pytest.mark.parametrize("name", SINGLE)
def test_every_voice_rounds_in_single_precision(name: str) -> None:
    model, about = network(**SINGLE[name], rounding="single_precision")
    feeds = random_feeds(about, steps=40)
    found = agreed(model, feeds, inlined=True, onnx_reference=True)["y"]
    assert (found == expected(model, about, feeds)).all()


def test_a_product_that_becomes_a_tie_in_single_precision_alone_goes_to_the_even_neighbour() -> None:
    # 1325 * 8445587 = 333.5 * 2^25 less a few: 34 bits, of which 24 are the tie itself.
    wanted = {"half_even": 333, "single_precision": 334}
    for rule, value in wanted.items():
        assert requantize(np.array([1325]), 8_445_587, 25, rounding=rule) == value
    model, about = network(
        hidden=1, weight_bits=2, bias=0, multiplier=8_445_587, shift=27, rounding="single_precision", input_shift=1
    )
    feeds = random_feeds(about, steps=100)
    assert (agreed(model, feeds)["y"] == expected(model, about, feeds)).all()


def test_single_precision_without_a_table_has_no_body() -> None:
    model, _ = network(multiplier=3, shift=30, hidden=90, weight_bits=8, bias=2_000_000, rounding="single_precision")
    with pytest.raises(UnsupportedModelError, match="rounding single_precision has a body by a table alone"):
        attach_bodies(model)


def test_the_cases_reach_both_ends_of_the_body_and_meet_ties() -> None:
    finishes = set()
    differ = 0
    for chosen in CASES.values():
        model, about = network(**chosen, rounding="half_even")
        finishes |= {arrange(site).finish for site in sites(model)}
        usual, _ = network(**chosen)
        feeds = random_feeds(about)
        one, other = (ReferenceModel(m).run(feeds).outputs["y"] for m in (model, usual))
        differ += int(np.count_nonzero(one != other))
    assert finishes == {"gather", "multiply"}
    assert differ > 0


def test_any_split_of_a_sequence_gives_the_same_bits() -> None:
    model, about = network(**CASES["shifted"], rounding="half_even")
    reference, feeds = ReferenceModel(model), random_feeds(about)
    whole = reference.run(feeds).outputs
    first = reference.run({"x": feeds["x"][:4], "h0": feeds["h0"]}).outputs
    second = reference.run({"x": feeds["x"][4:], "h0": first["y_h"]}).outputs
    assert (np.concatenate([first["y"], second["y"]]) == whole["y"]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rounding": "gemmlowp"}, "rounding is 'gemmlowp'; expected one of half_up, half_even, single_precision of a"),
        ({"activation": "modrelu"}, "activation is 'modrelu'; rounding half_even goes with linear or relu"),
        ({"input_multiplier": 3, "input_shift": 2}, "with an input_multiplier; rounding half_even goes with"),
        ({"state_bits": 12}, "rounding half_even goes from uint8 to uint8"),
        ({"multiplier": 5987, "shift": 18, "bias": 2_000_000}, r"single precision is exact up to 2\^24"),
        ({"multiplier": 1 << 20, "shift": 0, "bias": 3000}, "before they are clipped"),
        ({"multiplier": 0}, "a multiplier is not positive"),
    ],
)
def test_what_the_kernels_could_not_compute_is_an_error(changed: dict[str, Any], message: str) -> None:
    chosen = {"multiplier": 23, "shift": 11, "rounding": "half_even"} | changed
    model, about = network(**chosen)
    with pytest.raises(ContractError, match=message):
        ReferenceModel(model).run(random_feeds(about))


def test_copies_of_the_input_hold_a_weight_that_is_shifted() -> None:
    weight = np.array([[127, -3]], np.int8)
    assert [input_copies(weight, shift) for shift in (0, 1, 2, 3)] == [1, 2, 4, 8]
    assert input_copies(weight[:, 1:], 5) == 1
    assert input_copies(np.zeros((2, 1), np.int8), 9) == 1
