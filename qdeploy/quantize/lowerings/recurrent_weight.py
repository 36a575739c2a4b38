"""The recurrent weight of an RNN: its scale, which is the loop's gain, and how it is rounded."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize import builtin_loop
from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.shaped_rounding import best_step, is_orthogonal, shaped_rounding
from qdeploy.quantize.weights import QuantizedWeight, on_scale, powers_of_two, quantize_weight

__all__ = ["DRIVE_BITS", "GRID_DRIVE_BITS", "MAX_RECURRENT_SHIFT", "free_lift", "recurrent_weight"]

MAX_RECURRENT_SHIFT = 8

DRIVE_BITS = 28
"""Of an accumulator's 31, when the recurrent weight is so small that they would be more."""

GRID_DRIVE_BITS = 30.5
"""The same beside a weight that lies on a grid, which is not coarsened before it must be; the products keep 30 %."""


def recurrent_weight(
    weight: NDArray[np.float32], recipe: Recipe, node: onnx.NodeProto, least: float, *, exact: bool = False
) -> QuantizedWeight:
    """W in integers: on its own grid, shaped, or at the nearest scale; never finer than ``least`` lets the drive be.

    Args:
        weight: ``[H, H]``.
        recipe, node: which and whose.
        least: the finest scale at which the drive has its bits of the accumulator.
        exact: whether the scale shall be an exact multiplier in single precision, where no grid fixes it.
    """
    power_of_two = recipe.multiplier_bits == 1
    granularity = recipe.recurrent_granularity
    found = quantize_weight(weight, recipe, node.input[2], granularity=granularity, power_of_two=power_of_two)
    kept = least / 2.0 ** (GRID_DRIVE_BITS - DRIVE_BITS) if found.exact_grid else least
    if found.scale.min() >= kept:
        shaped = _shaped(found, weight, recipe, node, kept, exact=exact)
        if shaped.exact_grid or shaped.shaped or not exact:
            return shaped
        return on_scale(weight, builtin_loop.exact_scales(shaped.scale, free_lift(shaped)), recipe.weight_bits)
    scale = np.maximum(found.scale, least)
    if exact:
        scale = builtin_loop.exact_scales(scale, 0)
    return on_scale(weight, powers_of_two(scale) if power_of_two else scale, recipe.weight_bits)


def _shaped(
    found: QuantizedWeight,
    weight: NDArray[np.float32],
    recipe: Recipe,
    node: onnx.NodeProto,
    least: float,
    *,
    exact: bool,
) -> QuantizedWeight:
    """The weight rounded so that its eigenvalues stay, where the recipe asks for it and it is orthogonal; s_W >= ``least``."""
    wanted = recipe.recurrent_rounding
    linear = str(attribute(node, "activation")) == "linear"
    if wanted == "nearest" or (wanted == "auto" and not linear):
        return found
    if (
        found.exact_grid
        or found.scale.size > 1
        or recipe.weight_bits < 2
        or len(weight) < 2
        or not is_orthogonal(weight)
    ):
        return found
    top = 2 ** (recipe.weight_bits - 1) - 1
    step = float(found.scale[0])
    if recipe.multiplier_bits > 1:
        step = max(best_step(weight, -top, top), least)
    if exact:
        step = float(builtin_loop.exact_scales(np.array([step]), free_lift(found))[0])
    integers, _ = shaped_rounding(weight, step, -top, top)
    error = float(np.abs(weight - integers * step).max())
    return dataclasses.replace(found, integers=integers, scale=np.array([step]), error=error, shaped=True)


def free_lift(recurrent: QuantizedWeight) -> int:
    """By how many bits W may be lifted, for a finer accumulator, and still stay in bytes, which costs the loop nothing."""
    largest = int(np.abs(recurrent.integers.astype(np.int64)).max(initial=1))
    return min(MAX_RECURRENT_SHIFT, max(0, 7 - largest.bit_length()))
