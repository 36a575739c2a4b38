"""Kernels that compute in single precision, of onnxruntime or of LiteRT, where a recipe asks for them: for which layers they do.

Their rounding is half to even, and they are exact where every accumulator times the odd part of its multiplier stays below
2^24. A layer where it does not keeps the contract's own rule, and its record says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize import builtin_kernels, single_precision
from qdeploy.quantize.multiplier import Multiplier
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.tensor_type import TensorType

if TYPE_CHECKING:
    from qdeploy.quantize.lowerings.registry import Context

__all__ = ["AskedKernels", "asked_kernels", "because_key", "check_any", "obstacle"]


@dataclass(frozen=True)
class AskedKernels:
    """What a recipe asks for a layer.

    Attributes:
        wanted: whether the layer's numbers shall be such that those kernels are exact.
        record: why not, where the recipe asks for them and the layer cannot.
    """

    wanted: bool
    record: Mapping[str, str]


def asked_kernels(context: Context, node: onnx.NodeProto, x: TensorType, y: TensorType) -> AskedKernels:
    """Of a linear layer or a convolution and its types."""
    recipe = context.recipe
    if builtin_kernels.wanted(recipe):
        reason = builtin_kernels.hindrance(context, node, x, y)
    elif recipe.conv_kernels == "qlinear" and node.op_type == "Conv":
        reason = single_precision.hindrance(context, node, x, y)
    else:
        return AskedKernels(wanted=False, record={})
    return AskedKernels(wanted=reason is None, record={} if reason is None else {because_key(recipe): reason})


def because_key(recipe: Recipe) -> str:
    """The key of a layer's record under which the reason stands."""
    return builtin_kernels.BECAUSE if builtin_kernels.wanted(recipe) else single_precision.BECAUSE


def obstacle(
    recipe: Recipe, multiplier: Multiplier | None, weight: NDArray[np.int8], bias: NDArray[np.int32], x: TensorType
) -> str | None:
    """Why the numbers of a layer do not let the kernels that its recipe asks for be exact, or None.

    Args:
        recipe: that asks.
        multiplier: the exact one, or None where there is none.
        weight: int8 ``[N, ...]``.
        bias: int32 ``[N]``.
        x: the layer's input.
    """
    if multiplier is None:
        return "a trained grid or a learned algebra fixes its multipliers"
    if builtin_kernels.wanted(recipe):
        return builtin_kernels.obstacle(multiplier, weight, bias, x.zero_point)
    return single_precision.obstacle(multiplier, weight, bias, x.zero_point)


def check_any(recipe: Recipe, layers: Iterable[Mapping[str, Any]]) -> None:
    """A network that was asked for such kernels has a layer that takes them.

    Raises:
        UnsupportedModelError: naming every layer that could have been one, and its reason.
    """
    layers = list(layers)
    single_precision.check_any(recipe, layers)
    builtin_kernels.check_any(recipe, layers)
