"""Integers for the weights of layers over an algebra: W = sum_i kron(a_i, s_i).

Two ways, by the algebra. Where every pair (p, u) of an output's and an input's component has at most one element, all
elements of a component having one magnitude, W repeats the blocks s_i with signs: they are quantized, and W is exact. Any
other algebra mixes components: a becomes int16, s int8, and their sums are rounded once, by a factor a row, to int8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize.grid import recognise_grid
from qdeploy.quantize.multiplier import raised_to_multipliers
from qdeploy.quantize.recipe import SHORT_BITS, Recipe
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import QuantizedWeight, on_scale, powers_of_two, room_for_bias, symmetric_scale
from qdeploy.runtime.numeric import MAX_SHIFT

__all__ = ["Ends", "QuantizedAlgebra", "matrix_bits", "quantize_algebra"]

Reals = NDArray[np.float64]

ALGEBRA_TOP = 2**15 - 1
"""The algebra's elements are int16."""

FACTOR_BITS = 15
"""The factors of rows are int16 and positive."""


def matrix_bits(recipe: Recipe) -> int:
    """Of the matrix that is made when the model is loaded, whatever the components are stored in.

    A recipe of 7 bits is for products that saturate nowhere.
    """
    return SAFE_BITS if recipe.weight_bits == SAFE_BITS else 8


SAFE_BITS = 7
"""Of weights whose pairs of products fit int16 on every processor."""


@dataclass(frozen=True)
class Ends:
    """What stands around a layer's products: the types of its input and output, and its bias ``[P, Q]`` or ``None``."""

    x: TensorType
    y: TensorType
    bias: NDArray[np.float32] | None


@dataclass(frozen=True)
class QuantizedAlgebra:
    """The operator's inputs, and what they stand for.

    Attributes:
        algebra: int8 or int16 ``[d, P, U]``.
        components: int8 ``[d Q, V]``, flattened kernels, with their scale.
        factors: int16 ``[1]`` or ``[P, Q]``.
        shift: of the rounding; 0 where W is exact.
        scale: float64 ``[1]`` or ``[P, Q]``, of the rows of W.
        copied: whether W repeats components without rounding.
        repeats: whether the scales of all p are the same.
    """

    algebra: NDArray[Any]
    components: QuantizedWeight
    factors: NDArray[np.int16]
    shift: int
    scale: Reals
    copied: bool
    repeats: bool


def quantize_algebra(a: NDArray[np.float32], s: NDArray[np.float32], recipe: Recipe, ends: Ends) -> QuantizedAlgebra:
    """Integers of ``a`` ``[d, P, U]`` and ``s`` ``[d, Q, V]``, by ``recipe``."""
    signs, sizes = np.sign(a).astype(np.int8), np.abs(a).max(axis=(1, 2))
    single = bool((np.count_nonzero(a, axis=0) <= 1).all())
    if single and bool((np.abs(a) == np.abs(signs) * sizes[:, None, None]).all()):
        return _copied(signs, s * np.where(sizes > 0, sizes, 1)[:, None, None].astype(np.float32), recipe, ends)
    return _mixed(a.astype(np.float64), s.astype(np.float64), recipe, ends)


def _copied(signs: NDArray[np.int8], s: NDArray[np.float32], recipe: Recipe, ends: Ends) -> QuantizedAlgebra:
    """Every row of a component has the scale of the rows of W that it is part of."""
    count, q, v = s.shape
    families = _families(signs)
    # A row of W without any component has a scale, too: that of a component of zeros.
    padding = int(families.max()) + 1 - len({*families[:count].tolist()})
    stacked = np.concatenate([s.reshape(count * q, v), np.zeros((padding * q, v), np.float32)])
    of_rows = families[count:]
    blocks = np.concatenate([families[:count], np.setdiff1d(of_rows, families[:count])])
    grid = recognise_grid(stacked) if recipe.recognise_grid else None
    if grid is not None and grid.integers.min() > -128:
        quantized = QuantizedWeight(grid.integers, np.full(len(stacked), grid.step), grid.bits, True, 0.0)
    else:
        largest = np.abs(stacked.astype(np.float64)).max(axis=1).reshape(-1, q)
        shared = np.stack([largest[blocks == family].max(axis=0) for family in range(families.max() + 1)])
        if recipe.weight_granularity == "per_tensor":
            shared = np.full_like(shared, shared.max())
        scale = symmetric_scale(shared.reshape(-1), recipe.weight_bits)
        if recipe.multiplier_bits == 1:
            scale = powers_of_two(scale)
        elif recipe.short_multipliers:
            ratio = ends.x.scale / ends.y.scale
            scale = raised_to_multipliers(scale * ratio, SHORT_BITS) / ratio
        quantized = on_scale(stacked, scale.reshape(-1, q)[blocks].reshape(-1), recipe.weight_bits)
    if ends.bias is not None:
        sizes = np.abs(ends.bias)
        needed = np.stack([sizes[of_rows == block].max(axis=0, initial=0) for block in blocks]).astype(np.float32)
        quantized = room_for_bias(quantized, stacked, needed.reshape(-1), ends.x, ends.y, recipe.multiplier_bits)
    by_block = quantized.scale.reshape(-1, q)
    scale = np.stack([by_block[blocks == family][0] for family in of_rows])
    kept = replace(quantized, integers=quantized.integers[: count * q], scale=quantized.scale[: count * q])
    if (kept.scale == kept.scale[0]).all() and (scale == scale[0, 0]).all():
        kept, scale = replace(kept, scale=kept.scale[:1]), scale[:1, 0]
    repeats = scale.size == 1 or bool((scale == scale[:1]).all())
    return QuantizedAlgebra(signs, kept, np.ones(1, np.int16), 0, scale, copied=True, repeats=repeats)


def _families(signs: NDArray[np.int8]) -> NDArray[np.intp]:
    """Which components ``[d]`` and rows ``[P]``, one after the other, have to share their scales; numbered from 0.

    A row shares with all of its components, and so do rows with a component in common.
    """
    count, rows, _ = signs.shape
    names = np.arange(count + rows)
    for component, row in np.argwhere(signs.any(axis=2)):
        first, second = sorted((names[component], names[count + row]))
        names[names == second] = first
    return np.unique(names, return_inverse=True)[1]


def _mixed(a: Reals, s: Reals, recipe: Recipe, ends: Ends) -> QuantizedAlgebra:
    """Row q of all components has one scale; W's row (p, q) its own, which its factor brings the sums to.

    What a component is larger than the others goes to the algebra, which has the bits for it.
    """
    count, q, v = s.shape
    p, bits = a.shape[1], matrix_bits(recipe)
    sizes = np.abs(s).max(axis=(1, 2))
    sizes = np.where(sizes > 0, sizes, 1.0)
    a, s = a * sizes[:, None, None], s / sizes[:, None, None]
    power_of_two, whole = recipe.multiplier_bits == 1, recipe.weight_granularity == "per_tensor"

    def scales(largest: Reals, width: int) -> Reals:
        found = symmetric_scale(np.full_like(largest, largest.max()) if whole else largest, width)
        return powers_of_two(found) if power_of_two else found

    row_scale = scales(np.abs(s).max(axis=(0, 2)), recipe.weight_bits)
    stacked = s.reshape(count * q, v)
    components = on_scale(stacked.astype(np.float32), np.tile(row_scale, count), recipe.weight_bits)
    unit = 2.0 ** np.ceil(np.log2(max(np.abs(a).max(), np.finfo(np.float32).tiny) / ALGEBRA_TOP))
    algebra = np.rint(a / unit).astype(np.int16)
    blocks = algebra.reshape(count, -1).T.astype(np.float64) @ components.integers.reshape(count, -1).astype(np.float64)
    sums = blocks.reshape(p, -1, q, v).transpose(0, 2, 1, 3).reshape(p * q, -1)
    sum_scale = unit * np.tile(row_scale, p)
    real = sums * sum_scale[:, None]
    scale = scales(np.abs(real).max(axis=1), bits)
    if ends.bias is not None:
        weight = on_scale(real.astype(np.float32), scale, bits)
        roomy = room_for_bias(
            weight, real.astype(np.float32), ends.bias.reshape(-1), ends.x, ends.y, recipe.multiplier_bits
        )
        scale = np.broadcast_to(roomy.scale, scale.shape)
    factors, shift = _factors(sum_scale / scale)
    made = np.maximum(factors, 1)
    scale = np.where(factors > 0, sum_scale * 2.0**shift / made, scale).reshape(p, q)
    repeats = bool((scale == scale[:1]).all())
    kept = np.tile(row_scale, count)
    if (scale == scale[0, 0]).all() and (factors == factors[0]).all():
        factors, scale, kept = factors[:1], scale[:1, 0], kept[:1]
    components = replace(components, scale=kept)
    shaped = factors if factors.size == 1 else factors.reshape(p, q)
    return QuantizedAlgebra(algebra, components, shaped, shift, scale, copied=False, repeats=repeats)


def _factors(ratio: Reals) -> tuple[NDArray[np.int16], int]:
    """Factors of at most 15 bits and a shift with factor / 2^shift next to ``ratio``; a power of two is met exactly."""
    largest = float(ratio.max())
    shift = min(MAX_SHIFT, FACTOR_BITS - 1 - int(np.floor(np.log2(largest))))
    if np.rint(largest * 2.0**shift) > ALGEBRA_TOP:
        shift -= 1
    return np.rint(ratio * 2.0**shift).astype(np.int16), shift
