"""Recurrent layers for LiteRT's own int8 kernels: which can take them, and scales that make single precision exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdeploy.quantize import builtin_kernels
from qdeploy.quantize.builtin_kernels import BECAUSE
from qdeploy.quantize.multiplier import Multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.single_precision import few_bits
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.runtime.ops.rounded_loop import half_even_hindrance, input_copies
from qdeploy.runtime.rounding import HALF_EVEN

__all__ = ["exact_scales", "hindrance", "obstacle", "record", "say_which_have_no_kernel"]

_LARGEST_WEIGHT = 127
_MOST_COPIES = 16
_FEW_COLUMNS = 64
"""Columns of the input that cost a step nothing worth mentioning, however few units there are."""

_WITHOUT_KERNEL = ("GRU", "GRUResetBefore", "LiGRU", "FastRNN", "FastGRNN")


def hindrance(activation: str, x: TensorType, state: TensorType) -> str | None:
    """Why a recurrent layer stays portable whatever its numbers are, or None where they decide (:func:`obstacle`)."""
    if activation not in ("linear", "relu"):
        return f"its activation is {activation}, and LiteRT's kernels have bounds alone"
    if x.dtype != "uint8":
        return f"it takes {x.dtype}"
    if state.dtype != "uint8":
        return f"its states have {state.bits} bits, and LiteRT's kernels take 8 (--state-bits 8)"
    return None


def exact_scales(scale: NDArray[np.float64], lift: int) -> NDArray[np.float64]:
    """Scales of W, each raised to what multipliers of so few bits say exactly that single precision holds every product.

    The loop's gain is the scale of W, whatever the state's is, so that a raised scale costs nothing but a part of W's range.

    Args:
        scale: ``[1]`` or ``[H]``.
        lift: by how many bits the accumulator may be finer.
    """
    ratios = scale / 2.0**lift
    return few_bits(ratios, builtin_kernels.saturating(ratios)) * 2.0**lift


def obstacle(
    *,
    recurrent_weight: NDArray[np.int8],
    recurrent_shift: int,
    input_weight: NDArray[np.int8],
    input_shift: int,
    requantized_input: bool,
    reach: NDArray[np.object_],
    multiplier: Multiplier | None,
    grid: bool,
) -> str | None:
    """Why LiteRT's kernels are not exact for the numbers of a layer, or take too much room, or None.

    Args:
        recurrent_weight, recurrent_shift, input_weight, input_shift: of the operator.
        requantized_input: whether U x is requantized before the loop.
        reach: Python integers ``[H]``, of the accumulators.
        multiplier: the exact one, or None where there is none.
        grid: whether the recurrent weight keeps a scale that it was trained on.
    """
    if multiplier is None:
        return "a trained grid fixes its multiplier"
    if requantized_input:
        return "its input meets the state's scale by a multiplier of its own"
    lifted = int(np.abs(recurrent_weight.astype(np.int64)).max(initial=0)) << recurrent_shift
    if lifted > _LARGEST_WEIGHT or int(input_weight.min(initial=0)) < -_LARGEST_WEIGHT:
        return f"its weights reach {max(lifted, 128)} at the accumulator's scale, and LiteRT's kernels take up to 127"
    copies = input_copies(input_weight, input_shift)
    columns = copies * input_weight.shape[1]
    if copies > _MOST_COPIES or columns > max(_FEW_COLUMNS, len(recurrent_weight)):
        return f"its input would stand in {columns} columns beside {len(recurrent_weight)} states"
    problem = half_even_hindrance(reach, multiplier.values, multiplier.shift)
    return f"a trained grid fixes its multiplier: {problem}" if grid and problem else problem


def record(recipe: Recipe, reason: str | None) -> dict[str, str]:
    """What a layer's record says of its kernels; ``reason``: why it is portable."""
    if not builtin_kernels.wanted(recipe):
        return {}
    return {"rounding": HALF_EVEN} if reason is None else {BECAUSE: reason}


def say_which_have_no_kernel(recipe: Recipe, layers: list[dict[str, Any]]) -> None:
    """Adds the reason to the records of recurrent layers that LiteRT has no operator for, where its kernels are asked for."""
    if builtin_kernels.wanted(recipe):
        for layer in layers:
            if layer["operator"] in _WITHOUT_KERNEL:
                layer[BECAUSE] = f"LiteRT has no kernel for {layer['operator']}"
