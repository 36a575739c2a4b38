"""Packed weights, byte by byte against the layout's definition."""

from __future__ import annotations

import numpy as np
import pytest

from qdeploy.export.c.packing import hamilton_tiles, stored_bits, tiles


@pytest.mark.parametrize("tile", [4, 16])
@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_every_weight_stands_where_the_layout_says(bits: int, tile: int) -> None:
    generator = np.random.default_rng(bits)
    rows, columns, fields = 2 * tile - 3, 32 if bits == 1 else 37, 8 // bits
    if bits == 1:
        weight = generator.choice(np.array([-1, 1], np.int8), (rows, columns))
    else:
        weight = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (rows, columns)).astype(np.int8)
    packed = tiles(weight, bits, tile)
    blocks = -(-columns // (4 * fields))
    assert packed.size == 2 * blocks * tile * 4
    for row in range(rows):
        for column in range(columns):
            block, inside = divmod(column, 4 * fields)
            field, place = divmod(inside, 4)
            byte = int(packed[((row // tile * blocks + block) * tile + row % tile) * 4 + place])
            code = byte >> (field * bits) & ((1 << bits) - 1)
            if bits == 1:
                assert 1 - 2 * code == weight[row, column]
            else:
                assert (code ^ (1 << (bits - 1))) - (1 << (bits - 1)) == weight[row, column]


def test_components_of_a_block_stand_together() -> None:
    components = np.arange(4 * 4 * 8).reshape(4, 4, 8).astype(np.int8)
    packed = hamilton_tiles(components, 8, 4).reshape(1, 2, 4, 4, 4)
    for block in range(2):
        for part in range(4):
            assert (packed[0, block, part] == components[part, :, block * 4 : block * 4 + 4]).all()


@pytest.mark.parametrize(
    ("values", "bits"), [([-1, 1], 1), ([-1, 0, 1], 2), ([-2, 1], 2), ([2, 0], 4), ([-8, 7], 4), ([8, 0], 8)]
)
def test_the_narrowest_storage_that_holds_all(values: list[int], bits: int) -> None:
    assert stored_bits(np.resize(np.array(values, np.int8), (2, 32))) == bits


def test_signs_take_two_bits_where_a_row_needs_padding() -> None:
    assert stored_bits(np.ones((2, 33), np.int8)) == 2


@pytest.mark.parametrize(("columns", "bits"), [(131_071, 2), (131_072, 8)])
def test_rows_that_are_very_long_are_stored_in_bytes(columns: int, bits: int) -> None:
    assert stored_bits(np.ones((1, columns), np.int8)) == bits
