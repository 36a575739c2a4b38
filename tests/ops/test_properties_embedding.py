"""Embedding, over random tables, indices, scales and zero points; and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.reference import ReferenceModel

from .agreement import agreed, one_node
from .test_properties import filled, many, property_of, whole

SETTINGS = {"shift": 0, "y_zero_point": 128, "low": 0, "high": 255, "dtype": 2}


@property_of("Embedding")
@many
@given(st.data(), st.sampled_from(["uint8", "int16"]), st.sampled_from(["int32", "int64"]))
def test_embedding(data: st.DataObject, kind: str, index_kind: str) -> None:
    rows, size = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    weight = data.draw(filled("int8", (rows, size), 0))
    indices = data.draw(
        filled(index_kind, data.draw(array_shapes(min_dims=1, max_dims=3, max_side=4)), 0, low=0, high=rows - 1)
    )
    own = data.draw(st.booleans())
    shift = 0 if own else data.draw(st.integers(0, 46))
    factors = [1] if own else [data.draw(whole(1, 2**31 - 1)) for _ in range(data.draw(st.sampled_from([1, rows])))]
    limits = np.iinfo(kind)
    low = data.draw(whole(limits.min, limits.max))
    high = data.draw(whole(low, limits.max))
    zero_point = data.draw(whole(low, high)) if kind == "uint8" else 0
    multiplier = np.array(factors, np.int32)
    model = one_node(
        "Embedding",
        {"i": indices},
        {"w": weight, "m": multiplier},
        ["i", "w", "m"],
        {"y": kind},
        shift=shift,
        y_zero_point=zero_point,
        low=low,
        high=high,
        dtype={"uint8": 2, "int16": 5}[kind],
    )
    # One axis more than the indices have.
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "size"
    table = [
        [
            min(
                max(
                    floor(Fraction(value * factors[row % len(factors)], 2**shift) + Fraction(1, 2) * bool(shift))
                    + zero_point,
                    low,
                ),
                high,
            )
            for value in line
        ]
        for row, line in enumerate(weight.tolist())
    ]
    expected = [table[index] for index in indices.ravel().tolist()]
    found = agreed(model, {"i": indices}, inlined=True)["y"]
    assert found.shape == (*indices.shape, size)
    assert found.reshape(-1, size).tolist() == expected


def run(indices: np.ndarray, multiplier: np.ndarray | None = None, **changed: int) -> ReferenceModel:
    weight = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    factors = np.ones(1, np.int32) if multiplier is None else multiplier
    return ReferenceModel(
        one_node(
            "Embedding",
            {"i": indices},
            {"w": weight, "m": factors},
            ["i", "w", "m"],
            {"y": "uint8"},
            **(SETTINGS | changed),
        )
    )


@pytest.mark.parametrize("outside", [4, -1, 2**40])
def test_an_index_outside_the_table_is_refused_with_its_place(outside: int) -> None:
    indices = np.array([[0, 3], [outside, 1]], np.int64)
    with pytest.raises(
        ContractError, match=rf"node node: index {outside} at \[1, 0\]; expected 0 to 3, the table has 4 rows"
    ):
        run(indices).run({"i": indices})


def test_no_index_and_other_types_are_refused() -> None:
    for indices, words in (
        (np.zeros((2, 0), np.int64), r"indices has shape \[2, 0\]"),
        (np.zeros((2, 1), np.uint8), "indices is uint8"),
    ):
        with pytest.raises(ContractError, match=words):
            run(indices).run({"i": indices})
    with pytest.raises(ContractError, match=r"multiplier has shape \[3\]"):
        run(np.zeros(1, np.int64), np.ones(3, np.int32)).run({"i": np.zeros(1, np.int64)})


def test_only_what_is_clipped_saturates() -> None:
    """An entry at the bound lost nothing; one beyond it did, each time that it is read."""
    indices = np.array([3, 3, 0], np.int64)
    assert run(indices, high=133).run({"i": indices}).saturations == {}
    assert run(indices, high=132).run({"i": indices}).saturations == {"node": 2}
