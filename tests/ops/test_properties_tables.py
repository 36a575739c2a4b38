"""Tables with straight lines between their entries: the integers of every line, and which tables are stored so."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.quantize.lowerings.stored_table import fewest_knots
from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.straight_lines import on_straight_lines

from .agreement import agreed, one_node
from .test_properties import filled, many, property_of

HALF = 2048


@property_of("InterpolatedTable")
@many
@given(st.data())
def test_interpolated_table(data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, 12))
    lines = 1 << data.draw(st.integers(0, bits - 1))
    knots = data.draw(filled("int16", (lines + 1,), 0))
    apart = (1 << bits) // lines
    expected = [
        left + floor(Fraction((right - left) * step, apart) + Fraction(1, 2))
        for left, right in zip(knots.tolist(), knots.tolist()[1:], strict=False)
        for step in range(apart)
    ]
    # Tables never leave a graph: every index is looked up.
    x = np.arange(-(1 << bits) // 2, (1 << bits) // 2, dtype=np.int16)
    model = one_node("InterpolatedTable", {"x": x}, {"knots": knots}, ["knots"], {"table": "int16"}, bits=bits)
    model.graph.node.add().CopyFrom(
        onnx.helper.make_node("Table", ["x", "table"], ["y"], name="look_up", domain="qdeploy")
    )
    model.graph.output[0].name = "y"
    assert agreed(model, {"x": x}, inlined=True)["y"].tolist() == expected


@pytest.mark.parametrize(
    ("size", "bits", "words"), [(4, 4, r"knots has shape \[4\]"), (17, 4, "knots"), (3, 13, "bits is 13")]
)
def test_other_sizes_are_refused(size: int, bits: int, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        OPERATORS["InterpolatedTable"].meaning(Node("lines"), np.zeros(size, np.int16), bits=bits)


@pytest.mark.parametrize("reach", [0.5, 2.0, 8.0])
def test_curves_are_stored_with_few_knots_and_no_entry_is_far_off(reach: float) -> None:
    """An entry is off by half of what lies between its neighbours at most, which the index's rounding may be off by too."""
    index = np.arange(-HALF, HALF) * reach / HALF
    for curve, largest in ((np.tanh(index), 2047), (1 / (1 + np.exp(-index)), 32767)):
        entries = np.rint(curve * largest).astype(np.int16)
        knots = fewest_knots(entries)
        assert knots is not None
        assert knots.size <= 513
        found = on_straight_lines(knots, entries.size)
        own = entries.astype(np.int64)
        allowed = np.maximum(1, np.abs(np.append(own[1:], own[-1]) - np.append(own[0], own[:-1])) // 4)
        assert (np.abs(found - own) <= allowed).all()
        assert own.min() <= found.min()
        assert found.max() <= own.max()


def test_a_table_without_lines_is_stored_whole() -> None:
    assert fewest_knots(np.random.default_rng(0).integers(-(2**15), 2**15, 4096).astype(np.int16)) is None
