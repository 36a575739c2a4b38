"""SparseWeights: weights of which many are zero, from the places and the values of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qdeploy.runtime.model_sizes import LARGEST_RESULT
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.operator import Node, operator

GAP_WIDTHS = range(1, 9)
"""Bits of a gap: a longer one is cheaper as two entries."""


@operator("SparseWeights", outputs=("weight",))
def sparse_weights(
    node: Node, places: IntArray, values: IntArray, *, gap_bits: int, value_bits: int, count: int, shape: list[int]
) -> tuple[IntArray, ...]:
    """weight[p_i] = v_i for i = 0 ... count - 1, in the order of memory; all others are 0.

    Both inputs are streams of fields without gaps between: field i of b bits holds the bits b * i to b * i + b - 1, bit n
    being bit ``n mod 8`` of byte ``n // 8``. The unused bits of the last byte are 0.

    Args:
        places: uint8. With ``gap_bits`` = 0 a bit map: bit p is 1 where p is one of the places, in ``ceil(N / 8)`` bytes
            for N weights. Otherwise ``count`` fields g_i of ``gap_bits`` bits: how many weights lie between a place and the
            one before, so that p_i = g_0 + ... + g_i + i < N. A gap too long for a field is two entries, of which the first
            has the value 0.
        values: uint8, ``count`` fields of ``value_bits`` bits: v_i + 2^(value_bits-1).
        gap_bits: 0, or 1 to 8.
        value_bits: 1 to 8.
        count: 1 to N.
        shape: the weight's; N = prod(shape) is at most 2^26.

    Returns:
        int8 of ``shape``, in [-2^(value_bits-1), 2^(value_bits-1) - 1]. It depends on constants only, so runtimes fold it at
        load: the file keeps what is not zero.
    """
    if "weight" not in node.cache:
        node.require(gap_bits in (0, *GAP_WIDTHS), f"gap_bits is {gap_bits}; expected 0 to {GAP_WIDTHS[-1]}.")
        node.require(1 <= value_bits <= 8, f"value_bits is {value_bits}; expected 1 to 8.")
        node.require(
            bool(shape) and min(shape) > 0 and math.prod(shape) <= LARGEST_RESULT,
            f"shape is {list(shape)}; expected 1 to {LARGEST_RESULT} weights.",
        )
        size = math.prod(shape)
        node.require(1 <= count <= size, f"count is {count}; expected 1 to {size}, the number of weights.")
        fields = _fields(node, "values", values, value_bits, count).astype(np.int16)
        flat = np.zeros(size, np.int8)
        flat[_places(node, places, gap_bits, count, size)] = fields - (1 << (value_bits - 1))
        node.cache["weight"] = flat.reshape(shape)
    return (node.cache["weight"],)


def _places(node: Node, places: IntArray, gap_bits: int, count: int, size: int) -> IntArray:
    """Where the values stand, rising."""
    if gap_bits == 0:
        found: IntArray = np.flatnonzero(_fields(node, "places", places, 1, size))
        node.require(len(found) == count, f"places marks {len(found)} weights; expected count = {count}.")
        return found
    gaps = _fields(node, "places", places, gap_bits, count)
    rising: IntArray = np.cumsum(gaps, dtype=np.int64) + np.arange(count)
    node.require(rising[-1] < size, f"places reach to {rising[-1]}; expected less than {size}, the number of weights.")
    return rising


def _fields(node: Node, name: str, packed: IntArray, bits: int, count: int) -> IntArray:
    """uint8 ``[count]``: the fields of a stream that holds so many and no more."""
    node.require_dtype(name, packed, np.uint8)
    node.require_shape(name, packed, -(-count * bits // 8))
    stream = np.unpackbits(packed, bitorder="little")
    node.require(not stream[count * bits :].any(), f"an unused bit of the last byte of {name} is set.")
    return np.packbits(stream[: count * bits].reshape(count, bits), axis=1, bitorder="little").reshape(count)


@dataclass(frozen=True)
class Packed:
    """What SparseWeights makes a weight of."""

    places: IntArray
    values: IntArray
    gap_bits: int
    value_bits: int
    count: int

    @property
    def nbytes(self) -> int:
        """Of both streams."""
        return self.places.nbytes + self.values.nbytes


def pack_sparse(weight: IntArray, form: str | None = None) -> Packed:
    """The inverse of SparseWeights, in the form that takes the fewest bytes.

    Args:
        weight: int8 of any shape, not empty; without any value but 0 it takes one entry of the value 0.
        form: ``map`` or ``gaps`` where it has to be that one.
    """
    flat = weight.reshape(-1)
    places = np.flatnonzero(flat)
    if not places.size:
        places = np.zeros(1, np.int64)
    values = flat[places].astype(np.int16)
    value_bits = _value_bits(values)
    gaps = np.diff(places, prepend=-1) - 1
    widths = {"map": (0,), "gaps": GAP_WIDTHS, None: (0, *GAP_WIDTHS)}[form]
    gap_bits, entries = _narrowest(gaps, value_bits, flat.size, widths)
    half = 1 << (value_bits - 1)
    if gap_bits == 0:
        mask = np.zeros(flat.size, np.uint8)
        mask[places] = 1
        return Packed(np.packbits(mask, bitorder="little"), _pack(values + half, value_bits), 0, value_bits, entries)
    # Each entry of value 0 leaps over a full field and itself.
    ends = np.cumsum((gaps >> gap_bits) + 1) - 1
    all_gaps = np.full(entries, (1 << gap_bits) - 1, np.int64)
    all_gaps[ends] = gaps & ((1 << gap_bits) - 1)
    all_values = np.zeros(entries, np.int16)
    all_values[ends] = values
    return Packed(_pack(all_gaps, gap_bits), _pack(all_values + half, value_bits), gap_bits, value_bits, entries)


def _value_bits(values: IntArray) -> int:
    """The width of a field that holds all of them, which are int8's."""
    low, high = int(values.min()), int(values.max())
    return next(bits for bits in range(1, 9) if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1))


def _narrowest(gaps: IntArray, value_bits: int, size: int, widths: Sequence[int]) -> tuple[int, int]:
    """Which of ``widths`` takes the fewest bits as ``gap_bits``, and how many entries it has."""

    def entries(width: int) -> int:
        return len(gaps) + (int((gaps >> width).sum()) if width else 0)

    def bits(width: int) -> int:
        return entries(width) * (width + value_bits) + (0 if width else size)

    narrowest = min(widths, key=bits)
    return narrowest, entries(narrowest)


def _pack(fields: IntArray, bits: int) -> IntArray:
    """Fields ``[count]`` of so many bits as a stream of bytes."""
    stream = np.unpackbits(fields.astype(np.uint8)[:, None], axis=1, count=bits, bitorder="little")
    packed: IntArray = np.packbits(stream.reshape(-1), bitorder="little")
    return packed
