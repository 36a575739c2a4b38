"""SparseWeights over random weights, forms and widths, against the contract in Python's integers; and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdeploy.runtime.errors import ContractError
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.ops.sparse_weights import GAP_WIDTHS, Packed, pack_sparse

from .test_properties import Array, filled, many, property_of
from .test_weights import shown


def attributes(packed: Packed, weight: Array) -> dict[str, Any]:
    return {
        "gap_bits": packed.gap_bits,
        "value_bits": packed.value_bits,
        "count": packed.count,
        "shape": list(weight.shape),
    }


def expand(places: bytes, values: bytes, gap_bits: int, value_bits: int, count: int, size: int) -> list[int]:
    """The contract, from both streams as one long integer each."""
    marks, fields = int.from_bytes(places, "little"), int.from_bytes(values, "little")
    found = [(fields >> (value_bits * i) & ((1 << value_bits) - 1)) - (1 << (value_bits - 1)) for i in range(count)]
    weight, place = [0] * size, -1
    if gap_bits == 0:
        positions = [p for p in range(size) if marks >> p & 1]
        assert len(positions) == count
    else:
        positions = []
        for i in range(count):
            place += (marks >> (gap_bits * i) & ((1 << gap_bits) - 1)) + 1
            positions.append(place)
    for position, value in zip(positions, found, strict=True):
        weight[position] = value
    return weight


@property_of("SparseWeights")
@many
@given(st.data(), st.integers(1, 8), st.sampled_from([None, "map", "gaps"]))
def test_sparse_weights(data: st.DataObject, bits: int, form: str | None) -> None:
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 60))
    half = 1 << (bits - 1)
    weight = data.draw(filled("int8", (rows, columns), 0, low=-half, high=half - 1))
    # Long gaps and short ones, and a weight of zeros alone.
    kept = data.draw(st.sampled_from([0.0, 0.02, 0.2, 0.6, 1.0]))
    weight[np.random.default_rng(data.draw(st.integers(0, 999))).random(weight.shape) >= kept] = 0
    packed = pack_sparse(weight, form)
    assert packed.value_bits <= bits
    streams = {"p": packed.places, "v": packed.values}
    expected = expand(
        packed.places.tobytes(),
        packed.values.tobytes(),
        packed.gap_bits,
        packed.value_bits,
        packed.count,
        weight.size,
    )
    assert weight.ravel().tolist() == expected
    for found in shown("SparseWeights", streams, **attributes(packed, weight)):
        assert found.ravel().tolist() == expected


@pytest.mark.parametrize("gap_bits", GAP_WIDTHS)
def test_every_width_of_a_gap(gap_bits: int) -> None:
    """A field of ones, over it, and twice as far: one entry, two, three."""
    full = 1 << gap_bits
    places = np.cumsum([1, full, full + 1, 2 * full + 1])
    weight = np.zeros((1, int(places[-1]) + 1), np.int8)
    weight[0, places] = [1, -128, 127, -1]
    fields = {"gaps": [1, full - 1, full - 1, 0, full - 1, full - 1, 0], "values": [1, -128, 0, 127, 0, 0, -1]}
    number = sum(gap << (gap_bits * i) for i, gap in enumerate(fields["gaps"]))
    streams = {
        "p": np.frombuffer(number.to_bytes(-(-7 * gap_bits // 8), "little"), np.uint8),
        "v": np.array([value + 128 for value in fields["values"]], np.uint8),
    }
    for found in shown("SparseWeights", streams, gap_bits=gap_bits, value_bits=8, count=7, shape=list(weight.shape)):
        assert (found == weight).all()


@pytest.mark.parametrize(("zeros", "form"), [(0.3, "map"), (0.5, "map"), (0.8, "gaps"), (0.95, "gaps"), (0.98, "gaps")])
def test_the_smaller_form_is_taken(zeros: float, form: str) -> None:
    generator = np.random.default_rng(0)
    weight = generator.integers(-127, 128, (100, 200)).astype(np.int8)
    weight[generator.random(weight.shape) < zeros] = 0
    packed = pack_sparse(weight)
    assert ("gaps" if packed.gap_bits else "map") == form
    assert packed.nbytes == min(pack_sparse(weight, other).nbytes for other in ("map", "gaps"))
    # Within a tenth of what no code can be smaller than: the entropy of the places, and the values' bytes.
    density = np.count_nonzero(weight) / weight.size
    entropy = -density * np.log2(density) - (1 - density) * np.log2(1 - density)
    assert packed.nbytes <= 1.1 * weight.size * (entropy / 8 + density)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gap_bits": 9}, "gap_bits is 9"),
        ({"gap_bits": -1}, "gap_bits is -1"),
        ({"value_bits": 0}, "value_bits is 0"),
        ({"value_bits": 9}, "value_bits is 9"),
        ({"count": 0}, "count is 0; expected 1 to 12"),
        ({"count": 13}, "count is 13; expected 1 to 12"),
        ({"count": 2}, "values has shape"),
        ({"shape": []}, "shape is"),
        ({"shape": [4, -3]}, "shape is"),
        ({"shape": [1 << 20, 1 << 20]}, "expected 1 to 67108864 weights"),
        ({"shape": [3, 3]}, "places reach to 11; expected less than 9"),
        ({"values": np.array([1, 2, 3, 4], np.uint8)}, "values has shape"),
        ({"values": np.array([1, 2, 3], np.int8)}, "values is int8"),
        ({"places": np.array([0x22, 0x13], np.uint8)}, "unused bit of the last byte of places"),
        ({"gap_bits": 0, "places": np.array([0xFF, 0x03], np.uint8)}, "places marks 10 weights; expected count = 3"),
        ({"gap_bits": 0, "places": np.array([0x07, 0x10], np.uint8)}, "unused bit of the last byte of places"),
    ],
)
def test_streams_that_are_no_weights(changed: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {
        # Three zeros before each of three values: places 3, 7, 11 of 12.
        "places": np.array([0x33, 0x03], np.uint8),
        "values": np.array([1, 2, 3], np.uint8),
        "gap_bits": 4,
        "value_bits": 8,
        "count": 3,
        "shape": [4, 3],
    }
    (weight,) = OPERATORS["SparseWeights"].meaning(Node("s"), **arguments)
    assert weight.ravel().tolist() == [0, 0, 0, -127, 0, 0, 0, -126, 0, 0, 0, -125]
    with pytest.raises(ContractError, match=words):
        OPERATORS["SparseWeights"].meaning(Node("s"), **{**arguments, **changed})
