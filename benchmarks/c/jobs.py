"""Jobs for the kernels, each with what NumPy computes in 64 bits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.c.emulated import Job
from qdeploy.export.c.packing import COLUMNS, hamilton_tiles, padded, tiles
from qdeploy.export.c.targets import find_target
from qdeploy.runtime.numeric import IntArray
from qdeploy.runtime.ops.hadamard_matrix import hadamard_transform, pack_signs

__all__ = ["Case", "Values", "hadamard_case", "matvec4_case", "matvec_case", "quaternion_case", "requantize_case"]

Values: TypeAlias = Literal["random", "lowest", "highest", "opposite", "zero", "states"]
"""What weights and activations are: drawn evenly, both at one end of their range, at opposite ends, activations of 0, or
activations of at most 12 bits, as states are by default."""

_SIGNS = np.array([[1, -1, -1, -1], [1, 1, -1, 1], [1, 1, 1, -1], [1, -1, 1, 1]])
"""Row p, part q of x: the sign of the component p ^ q of the weights in y_p."""


@dataclass(frozen=True)
class Case:
    """A job, what its output must be, and the multiply-accumulates that it stands for (of the real matrix)."""

    job: Job
    expected: NDArray[np.generic]
    products: int


def matvec_case(kernel: str, rows: int, columns: int, target: str, *, values: Values = "random", seed: int = 0) -> Case:
    """``matvec_u8_w8`` and its kin, of a true size that padding need not fit."""
    generator = np.random.default_rng(seed)
    bits, layout = _bits(kernel), find_target(target)
    weight = _weights((rows, columns), bits, values, generator)
    width = padded(columns, COLUMNS * 8 // bits)
    x, zero = _activations(kernel, 1, columns, width, layout.offset, values, generator)
    acc = _accumulators(padded(rows, layout.tile), generator)
    if bits == 1:
        # The rows that padding adds hold the code 0, which is the sign +1.
        weight = np.concatenate([weight, np.ones((len(acc) - rows, columns), np.int8)])
    products = weight.astype(np.int64) @ (x[0, :columns].astype(np.int64) - zero)
    integers = (len(acc), width)
    return Case(Job(kernel, integers, tiles(weight, bits, layout.tile), x, acc), _sum(acc, products), rows * columns)


def matvec4_case(
    kernel: str, rows: int, columns: int, target: str, *, values: Values = "random", seed: int = 0
) -> Case:
    """Four vectors, a few entries further from each other than they are long."""
    generator = np.random.default_rng(seed)
    layout = find_target(target)
    weight = _weights((rows, columns), 8, values, generator)
    width, height = padded(columns, COLUMNS), padded(rows, layout.tile)
    x, zero = _activations(kernel, 4, columns, width + 3, layout.offset, values, generator)
    acc = _accumulators(4 * height, generator).reshape(4, height)
    products = (x[:, :columns].astype(np.int64) - zero) @ weight.T.astype(np.int64)
    job = Job(kernel, (height, width, width + 3), tiles(weight, 8, layout.tile), x, acc)
    return Case(job, _sum(acc, products), 4 * weight.size)


def quaternion_case(
    kernel: str, rows: int, columns: int, target: str, *, values: Values = "random", seed: int = 0
) -> Case:
    """Components of ``rows`` by ``columns``; the four parts of x stand without a gap."""
    generator = np.random.default_rng(seed)
    bits, layout = _bits(kernel), find_target(target)
    weight = _weights((4, rows, columns), bits, values, generator)
    width, height = padded(columns, COLUMNS * 8 // bits), padded(rows, layout.tile)
    x, zero = _activations(kernel, 1, 4 * columns, 3 * columns + width, layout.offset, values, generator)
    acc = _accumulators(4 * height, generator).reshape(4, height)
    parts = x[0, : 4 * columns].reshape(4, columns).astype(np.int64) - zero
    products = np.zeros((4, rows), np.int64)
    for p in range(4):
        for q in range(4):
            products[p] += _SIGNS[p, q] * (weight[p ^ q].astype(np.int64) @ parts[q])
    job = Job(kernel, (height, width, columns), hamilton_tiles(weight, bits, layout.tile), x, acc)
    return Case(job, _sum(acc, products), 16 * rows * columns)


def hadamard_case(kernel: str, units: int, block: int, *, values: Values = "random", seed: int = 0) -> Case:
    """Signs times Hadamard blocks."""
    generator = np.random.default_rng(seed)
    signs = generator.choice(np.array([-1, 1], np.int8), units)
    x, _ = _activations(kernel, 1, units, units, 0, values, generator)
    acc = _accumulators(units, generator)
    sums = hadamard_transform(x.astype(np.int64).reshape(-1, block)).reshape(-1) * signs
    return Case(Job(kernel, (units, block), pack_signs(signs), x, acc), _sum(acc, sums), units * block)


def requantize_case(
    kernel: str, count: int, shift: int, zero_point: int, *, per_channel: bool, bits: int = 31, seed: int = 0
) -> Case:
    """Accumulators with both ends of their range and ties among them, multipliers of ``bits`` bits and both signs."""
    generator = np.random.default_rng(seed)
    kind = np.dtype({"u8": np.uint8, "s16": np.int16, "s32": np.int32}[kernel.rpartition("_")[2]])
    low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
    acc = _accumulators(count, generator)
    acc[: count // 2] >>= generator.integers(0, 31, count // 2).astype(np.int32)
    multiplier = generator.integers(-(2**bits) + 1, 2**bits, count if per_channel else 1).astype(np.int32)
    wide = acc.astype(np.int64) * multiplier + (1 << shift >> 1)
    expected = np.clip((wide >> shift) + zero_point, low, high).astype(kind)
    job = Job(kernel, (count, int(per_channel), shift, zero_point, low, high), multiplier, acc, np.zeros(count, kind))
    return Case(job, expected, count)


def _bits(kernel: str) -> int:
    return int(kernel.rpartition("_w")[2])


def _weights(shape: tuple[int, ...], bits: int, values: Values, generator: np.random.Generator) -> IntArray:
    if bits == 1:
        signs = np.array([-1, 1], np.int8)
        return (
            generator.choice(signs, shape)
            if values in ("random", "states")
            else np.full(shape, signs[int(values == "highest")])
        )
    # No kernel is given -128: generated code takes that value apart.
    high = 2 ** (bits - 1) - 1
    low = -high if bits == 8 else -high - 1
    if values in ("random", "zero", "states"):
        return generator.integers(low, high + 1, shape).astype(np.int8)
    return np.full(shape, high if values == "highest" else low, np.int8)


def _activations(
    kernel: str, count: int, columns: int, width: int, offset: int, values: Values, generator: np.random.Generator
) -> tuple[NDArray[np.generic], int]:
    """Activations ``[count, width]``, anything behind the true columns, and what the kernel takes from each."""
    signed = "_s16" in kernel
    kind: type[np.int16 | np.uint8] = np.int16 if signed else np.uint8
    ends = np.iinfo(kind)
    x = generator.integers(ends.min, int(ends.max) + 1, (count, width)).astype(kind)
    if values == "states" and signed:
        x >>= 4
    elif values not in ("random", "states"):
        x[:, :columns] = {"lowest": ends.min, "highest": ends.max, "opposite": ends.max, "zero": 0}[values]
    return x, 0 if signed else offset


def _accumulators(count: int, generator: np.random.Generator) -> NDArray[np.int32]:
    acc = generator.integers(-(2**31), 2**31, count).astype(np.int32)
    acc[:: max(1, count // 3)] = np.resize(
        np.array([0, -(2**31), 2**31 - 1], np.int32), len(acc[:: max(1, count // 3)])
    )
    return acc


def _sum(acc: NDArray[np.int32], products: NDArray[np.int64]) -> NDArray[np.int32]:
    """What is there, and the products, modulo 2^32; rows that padding adds stay as they are."""
    total = acc.astype(np.int64)
    total[..., : products.shape[-1]] += products
    return total.astype(np.int32)
