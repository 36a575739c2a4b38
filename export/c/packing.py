"""Weights as the kernels read them: tiles of a few rows by four columns, several codes a byte."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdeploy.runtime.numeric import IntArray

__all__ = ["COLUMNS", "hamilton_tiles", "padded", "stored_bits", "tiles"]

COLUMNS = 4
"""Columns of a tile: four bytes are what one dot-product instruction takes from each row."""

STORED = (1, 2, 4, 8)
_SIGNS_TOGETHER = 32
_NARROW_COLUMNS = 1 << 17
"""From here on a row of narrow weights is stored in bytes: some kernels sum products of 128 times 128 at most in 32 bits."""


def padded(size: int, unit: int) -> int:
    """The next multiple of ``unit``."""
    return -(-size // unit) * unit


def stored_bits(weight: IntArray) -> int:
    """The fewest of 1, 2, 4 and 8 bits that hold every weight of an int8 matrix ``[N, K]``.

    One bit holds the signs -1 and 1 only and knows no 0, so that rows which would need padding take two. Rows of 131,072
    columns and more take 8 bits.
    """
    if weight.shape[1] >= _NARROW_COLUMNS:
        return 8
    if weight.size and weight.shape[1] % _SIGNS_TOGETHER == 0 and bool((np.abs(weight.astype(np.int16)) == 1).all()):
        return 1
    low, high = (int(weight.min()), int(weight.max())) if weight.size else (0, 0)
    return next(bits for bits in STORED[1:] if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1))


def tiles(weight: IntArray, bits: int, tile: int) -> NDArray[np.uint8]:
    """A matrix in the order in which kernels read it.

    Args:
        weight: int8 ``[N, K]``, each within ``bits`` bits.
        bits: 8, 4, 2 or 1; with 1 every weight is -1 or 1, and K is a multiple of 32.
        tile: rows of a tile.

    Returns:
        bytes ``[N' / tile, K' / (4 f), tile, 4]``, flat, where f = 8 / bits, N' is N rounded up to ``tile`` and K' is K
        rounded up to 4 f; what is added is 0. The byte at (t, b, r, c) holds, at bits j * bits and up, the two's
        complement of the weight at row t * tile + r and column (b f + j) * 4 + c; of signs, 1 stands for -1.
    """
    return _blocks(weight, bits, tile).reshape(-1)


def hamilton_tiles(components: IntArray, bits: int, tile: int) -> NDArray[np.uint8]:
    """Four components in the order of the quaternion kernels.

    Args:
        components: int8 ``[4, N/4, K/4]``: r, i, j, k.
        bits: 8, 4 or 2.
        tile: rows of a tile.

    Returns:
        bytes ``[tiles, blocks, 4, tile, 4]``, flat: a block of r, of i, of j and of k, each as of :func:`tiles`.
    """
    return np.stack([_blocks(part, bits, tile) for part in components], axis=2).reshape(-1)


def _blocks(weight: IntArray, bits: int, tile: int) -> NDArray[np.uint8]:
    rows, columns = weight.shape
    fields = 8 // bits
    full = np.zeros((padded(rows, tile), padded(columns, COLUMNS * fields)), np.int16)
    full[:rows, :columns] = weight
    codes = (full < 0).astype(np.int16) if bits == 1 else full & ((1 << bits) - 1)
    split = codes.reshape(len(full) // tile, tile, -1, fields, COLUMNS)
    byte = np.zeros((*split.shape[:3], COLUMNS), np.int16)
    for field in range(fields):
        byte |= split[:, :, :, field] << (field * bits)
    return np.ascontiguousarray(byte.transpose(0, 2, 1, 3)).astype(np.uint8)
