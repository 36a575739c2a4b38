"""Weights to integers: on the grid they were trained on, or symmetric on one of our own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize.grid import recognise_grid
from qdeploy.quantize.recipe import Recipe
from qdeploy.runtime.errors import InvalidInputError


@dataclass(frozen=True)
class QuantizedWeight:
    """weight = scale * integers.

    Attributes:
        integers: int8 ``[N, K]``.
        scale: float64 ``[1]`` or ``[N]``.
        bits: how many bits the integers need (they are stored in 8, 4 or 2).
        exact_grid: whether the float weights came back without any error.
        error: the largest absolute difference to the float weights.
    """

    integers: NDArray[np.int8]
    scale: NDArray[np.float64]
    bits: int
    exact_grid: bool
    error: float


def quantize_weight(
    weight: NDArray[np.float32], recipe: Recipe, where: str, *, granularity: str, power_of_two: bool = False
) -> QuantizedWeight:
    """Quantizes ``[N, K]`` by ``recipe``, unless it lies on a grid already.

    Args:
        where: the tensor's name, for errors.
        granularity: ``per_tensor`` or ``per_channel`` (rows).
        power_of_two: whether scales of our own are rounded up to powers of two.
    """
    check_finite(weight, where)
    if recipe.recognise_grid:
        grid = recognise_grid(weight)
        if grid is not None:
            return QuantizedWeight(grid.integers, np.array([grid.step]), grid.bits, True, 0.0)
    largest = np.abs(weight.astype(np.float64))
    limit = largest.max(axis=1) if granularity == "per_channel" else largest.max(keepdims=True).reshape(1)
    scale = symmetric_scale(limit, recipe.weight_bits)
    if power_of_two:
        scale = 2.0 ** np.ceil(np.log2(scale))
    return on_scale(weight, scale, recipe.weight_bits)


def on_scale(weight: NDArray[np.float32], scale: NDArray[np.float64], bits: int) -> QuantizedWeight:
    """Rounds ``weight`` to the given scales, half to even, within +-(2^(bits-1) - 1)."""
    top = max(1, 2 ** (bits - 1) - 1)
    integers = np.clip(np.rint(weight.astype(np.float64) / scale[:, None]), -top, top)
    error = float(np.abs(weight - integers * scale[:, None]).max(initial=0.0))
    return QuantizedWeight(integers.astype(np.int8), scale, max(bits, 2), False, error)


def symmetric_scale(largest: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """The step that brings ``largest`` to 2^(bits-1) - 1 (1 for a single bit); rows of zeros get the mean of the others."""
    top = max(1, 2 ** (bits - 1) - 1)
    scale = largest / top
    filled = scale[scale > 0]
    replacement = float(filled.mean()) if filled.size else 1.0 / top
    return np.where(scale > 0, scale, replacement)


def check_finite(weight: NDArray[np.float32], where: str) -> None:
    """Refuses NaN and infinity."""
    if not np.isfinite(weight).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(weight))[0])
        raise InvalidInputError(
            f"weight {where} holds {weight[place]} at index {place}; the training diverged or the file is damaged."
        )
