"""Layers for LiteRT's own int8 kernels: which can take them, and why others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import FACTOR_INPUT
from qdeploy.quantize.multiplier import Multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.single_precision import EXACT_BITS, MOST_BITS, beyond
from qdeploy.quantize.tensor_type import TensorType, with_scale
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.ops.rounded import CONVERTIBLE, SATURATED, half_even_reach, largest_result

if TYPE_CHECKING:
    from qdeploy.quantize.lowerings.registry import Context

__all__ = ["BECAUSE", "check_any", "for_grid", "hindrance", "normalization", "obstacle", "saturating", "wanted"]

BECAUSE = "portable_because"
"""In a layer's record: why it is portable although LiteRT's own kernels were asked for."""

_LARGEST_RATIO = 2.0**7
_SMALLEST_RATIO = 2.0**-31
_MOST_AXES = 2


def wanted(recipe: Recipe) -> bool:
    """Whether layers shall take LiteRT's own kernels."""
    return recipe.tflite_kernels == "builtin"


def for_grid(y: TensorType, step: float) -> TensorType:
    """``y`` with the next larger scale of which an accumulator's ``step`` is an exact multiplier: weights on a grid keep theirs.

    The scale grows by a part in 128 at most, and by more where single precision leaves a multiplier fewer bits.
    """
    ratio = np.array([step / y.scale])
    bits = float(np.clip(EXACT_BITS - np.ceil(np.log2(saturating(ratio / 2) + 1)), 1, MOST_BITS)[0])
    unit = 2.0 ** (np.floor(np.log2(ratio[0])) - bits + 1)
    return with_scale(y, step / float(np.floor(ratio[0] / unit) * unit))


def normalization(recipe: Recipe) -> str:
    """Where batch normalization goes: LiteRT's kernels have no multipliers left for it, so that ``auto`` is ``fold``."""
    return "fold" if wanted(recipe) and recipe.batch_norm == "auto" else recipe.batch_norm


def saturating(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Accumulators from which on the results of these ratios are clipped: single precision need not be exact beyond."""
    clipped: NDArray[np.float64] = SATURATED / ratios + 1
    return clipped


def hindrance(context: Context, node: onnx.NodeProto, x: TensorType, y: TensorType) -> str | None:
    """Why a linear layer or convolution stays portable whatever its numbers are, or None where they decide (``obstacle``)."""
    if not x.dtype == y.dtype == "uint8":
        return f"it takes {x.dtype} and gives {y.dtype}"
    if len(node.input) > FACTOR_INPUT:
        return "a batch normalization fixes its multipliers (--batch-norm fold puts it into the weights)"
    if node.op_type != "Conv":
        return None
    places = context.calibration[node.input[0]].sizes[2:]
    if len(places) > _MOST_AXES:
        return f"its kernel has {len(places)} axes"
    return None


def obstacle(
    multiplier: Multiplier, weight: NDArray[np.int8], bias: NDArray[np.int32], x_zero_point: int
) -> str | None:
    """Why LiteRT's kernels are not exact for the numbers of a layer, int8 ``[N, ...]`` and int32 ``[N]``, or None."""
    if weight.min() < -127:
        return "it has weights of -128, which overflow on some processors"
    ratios = multiplier.values / 2.0**multiplier.shift
    if ratios.min() < _SMALLEST_RATIO or ratios.max() > _LARGEST_RATIO:
        return f"its scales' ratios reach from {ratios.min():g} to {ratios.max():g}, and LiteRT takes 2^-31 to 2^7"
    unclipped = largest_result(weight, bias, multiplier.values, multiplier.shift, x_zero_point)
    if unclipped >= CONVERTIBLE:
        return f"its results reach {unclipped:,} before they are clipped, and LiteRT's kernels are right below 2^30"
    return beyond(half_even_reach(weight, bias, multiplier.values, multiplier.shift, x_zero_point))


def check_any(recipe: Recipe, layers: Iterable[Mapping[str, Any]]) -> None:
    """A network that was asked for LiteRT's own kernels has at least one layer for them.

    Raises:
        UnsupportedModelError: naming every layer that could have been one, and its reason.
    """
    if not wanted(recipe):
        return
    layers = list(layers)
    if any("rounding" in layer or layer.get("operator") == "LSTM8x8x16" for layer in layers):
        return
    reasons = [f"{layer['name']}: {layer[BECAUSE]}" for layer in layers if BECAUSE in layer]
    raise UnsupportedModelError(
        "tflite_kernels=builtin, but no layer of this network can take LiteRT's own kernels"
        + (f" ({'; '.join(reasons)})" if reasons else ": it has no linear layer, convolution, RNN or LSTM")
        + "; export with --tflite-kernels portable."
    )
