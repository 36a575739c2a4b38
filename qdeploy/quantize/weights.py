"""Weights to integers: on the grid they were trained on, or symmetric on one of our own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize.grid import recognise_grid
from qdeploy.quantize.multiplier import SPREAD
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.runtime.errors import InvalidInputError

BIAS_BITS = 28
"""A bias of more bits in the accumulator coarsens its row; the products have the other seven eighths of int32."""

ZERO_WEIGHTS_BIAS_BITS = 15
"""Without any weights the bias needs no more bits than a multiplier has."""


@dataclass(frozen=True)
class QuantizedWeight:
    """weight = scale * integers.

    Attributes:
        integers: int8 ``[N, K]``.
        scale: float64 ``[1]`` or ``[N]``.
        bits: how many bits the integers need (they are stored in 8, 4 or 2).
        exact_grid: whether the float weights came back without any error.
        error: the largest absolute difference to the float weights.
        shaped: whether the integers were chosen by ``shaped_rounding``.
    """

    integers: NDArray[np.int8]
    scale: NDArray[np.float64]
    bits: int
    exact_grid: bool
    error: float
    shaped: bool = False


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
        scale = powers_of_two(scale)
    return on_scale(weight, scale, recipe.weight_bits)


def on_scale(weight: NDArray[np.float32], scale: NDArray[np.float64], bits: int) -> QuantizedWeight:
    """Rounds ``weight`` to the given scales, half to even, within +-(2^(bits-1) - 1)."""
    top = max(1, 2 ** (bits - 1) - 1)
    integers = np.clip(np.rint(weight.astype(np.float64) / scale[:, None]), -top, top)
    error = float(np.abs(weight - integers * scale[:, None]).max(initial=0.0))
    return QuantizedWeight(integers.astype(np.int8), scale, max(bits, 2), False, error)


def powers_of_two(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scales rounded up to powers of two, none below 2^-SPREAD of the largest: one shift serves all of them."""
    raised: NDArray[np.float64] = 2.0 ** np.ceil(np.log2(np.maximum(scale, scale.max() / 2.0**SPREAD)))
    return raised


def symmetric_scale(largest: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """The step that brings ``largest`` to 2^(bits-1) - 1 (1 for a single bit); rows of zeros get the mean of the others."""
    top = max(1, 2 ** (bits - 1) - 1)
    scale = largest / top
    filled = scale[scale > 0]
    replacement = float(filled.mean()) if filled.size else 1.0 / top
    return np.where(scale > 0, scale, replacement)


def room_for_bias(
    weight: QuantizedWeight,
    real: NDArray[np.float32],
    bias: NDArray[np.float32],
    x: TensorType,
    y: TensorType,
    bits: int,
) -> QuantizedWeight:
    """The weight with coarser rows where the bias needs it, which the accumulator holds at scale x.scale * scale.

    A row whose weights are tiny beside its bias (a dead unit) is quantized again at 2^n times its scale, with the
    smallest n for which the bias fits the accumulator, and the row's multiplier, which shares its shift with the
    coarsest row's, is exact enough for it: its rounding moves the output by 2^-12 of its range at most. What the row's
    weights lose is nothing against that bias. A matrix of zeros takes its scale from the largest bias.

    Args:
        weight: ``[N, K]``, with scale ``[1]`` or ``[N]``.
        real: the float weights.
        bias: the largest bias of each row, ``[N]``.
        x, y: the types of the layer's input and output.
        bits: of the multipliers; those of one bit are exact.
    """
    size = np.abs(bias.astype(np.float64)) / x.scale
    if not weight.integers.any():
        if not size.any():
            return weight
        scale = np.array([size.max() / 2.0**ZERO_WEIGHTS_BIAS_BITS]).repeat(weight.scale.size)
        return dataclasses.replace(weight, scale=scale)
    scale = np.broadcast_to(weight.scale, size.shape)
    largest = 2.0**BIAS_BITS
    if bits > 1:
        largest = min(largest, 2.0 ** (bits - 12) * (y.high - y.low) * y.scale / (x.scale * scale.max()))
    least = size / largest
    coarse = least > scale
    if not coarse.any():
        return weight
    raised = scale.copy()
    raised[coarse] *= 2.0 ** np.ceil(np.log2(least[coarse] / scale[coarse]))
    again = on_scale(real[coarse], raised[coarse], weight.bits)
    integers = weight.integers.copy()
    integers[coarse] = again.integers
    return QuantizedWeight(integers, raised, weight.bits, False, max(weight.error, again.error))


def check_finite(weight: NDArray[np.float32], where: str) -> None:
    """Refuses NaN and infinity."""
    if not np.isfinite(weight).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(weight))[0])
        raise InvalidInputError(
            f"weight {where} holds {weight[place]} at index {place}; the training diverged or the file is damaged."
        )
