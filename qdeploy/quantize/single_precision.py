"""Convolutions for the standard QLinearConv: multipliers that are exact in single precision, and which layers can take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import FACTOR_INPUT, attribute
from qdeploy.quantize.multiplier import NO_ERROR, Multiplier, choose_multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.runtime.errors import UnsupportedModelError
from qdeploy.runtime.numeric import FLOAT32_EXACT
from qdeploy.runtime.ops import NOT_STRICT
from qdeploy.runtime.ops.qlinear_conv import pairs_fit_16_bits, single_precision_reach

if TYPE_CHECKING:
    from qdeploy.quantize.lowerings.registry import Context

__all__ = ["BECAUSE", "beyond", "check_any", "exact_multiplier", "few_bits", "hindrance", "obstacle"]

BECAUSE = "strict_because"
"""In a layer's record: why it is strict although QLinearConv was asked for."""

EXACT_BITS = 24
"""Of single precision: an accumulator times its multiplier's odd part stays below 2^24."""

MOST_BITS = 8
"""Of a multiplier's odd part: what more bits would gain in a weight's scale is below a part in 128."""


SAFE_WEIGHT_BITS = 7
"""Weights of more bits can leave 16 bits in pairs on processors without VNNI."""


def hindrance(context: Context, node: onnx.NodeProto, x: TensorType, y: TensorType) -> str | None:
    """Why the convolution ``node`` keeps the strict kernel whatever its numbers are, or None where they decide (``obstacle``)."""
    group, kernel = int(attribute(node, "group", 1)), context.floats.constants.get(node.input[1])
    depthwise = kernel is not None and kernel.shape[:2] == (group, 1)
    if group != 1 and not depthwise:
        return f"QLinearConv is slow where there are {group} groups"
    if not x.dtype == y.dtype == "uint8":
        return f"it takes {x.dtype} and gives {y.dtype}"
    if len(node.input) > FACTOR_INPUT:
        return "a batch normalization fixes its multipliers"
    if context.recipe.weight_bits > SAFE_WEIGHT_BITS:
        return f"weights of {context.recipe.weight_bits} bits saturate on some processors (--recipe w7a8 has 7)"
    return None


def few_bits(ratios: NDArray[np.float64], accumulator: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratios, each raised to m 2^n with an m of as few bits as keep its accumulator times m within single precision.

    Args:
        ratios: positive ``[N]``: of the accumulator's step and the output's.
        accumulator: the largest of each output ``[N]``, at the scales that the ratios stand for: coarser ones make it smaller.
    """
    bits = np.clip(EXACT_BITS - np.ceil(np.log2(accumulator + 1)), 1, MOST_BITS)
    unit = 2.0 ** (np.floor(np.log2(ratios)) - bits + 1)
    raised: NDArray[np.float64] = np.ceil(ratios / unit) * unit
    return raised


def obstacle(
    multiplier: Multiplier, weight: NDArray[np.int8], bias: NDArray[np.int32], x_zero_point: int
) -> str | None:
    """Why QLinearConv is not exact for the numbers of a layer, int8 ``[N, ...]`` and int32 ``[N]``, or None."""
    if not pairs_fit_16_bits(weight):
        return "pairs of its weights saturate on some processors"
    return beyond(single_precision_reach(weight, bias, multiplier.values, x_zero_point))


def beyond(found: int) -> str | None:
    """Whether single precision loses bits of accumulators times multipliers up to ``found``, and why; None if not."""
    if not 0 < found < FLOAT32_EXACT:
        return f"its accumulator times its multiplier could reach {found:,}, and single precision is exact up to 2^24"
    return None


def exact_multiplier(ratios: NDArray[np.float64], where: str) -> Multiplier | None:
    """M and s that say ``ratios`` without an error, or None; M without factors of two that all channels share."""
    found = choose_multiplier(ratios, 31, where)
    if found.error >= NO_ERROR:
        return None
    together = int(np.bitwise_or.reduce(found.values))
    shared = min(found.shift, (together & -together).bit_length() - 1)
    return Multiplier(found.values >> shared, found.shift - shared, 0.0)


def check_any(recipe: Recipe, layers: Iterable[Mapping[str, Any]]) -> None:
    """A network that was asked for QLinearConv has at least one.

    Raises:
        UnsupportedModelError: naming every convolution and its reason.
    """
    if recipe.conv_kernels != "qlinear":
        return
    layers = list(layers)
    if any(layer["operator"] in NOT_STRICT for layer in layers):
        return
    reasons = [f"{layer['name']}: {layer[BECAUSE]}" for layer in layers if BECAUSE in layer]
    raise UnsupportedModelError(
        "conv_kernels=qlinear, but no convolution of this network can be a QLinearConv"
        + (f" ({'; '.join(reasons)})" if reasons else ": it has none")
        + "; export with --conv-kernels strict."
    )
