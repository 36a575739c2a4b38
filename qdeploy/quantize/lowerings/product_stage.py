"""What stands behind the products of a layer: the bias in the accumulator, its proof, and the requantization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.bounds import BoundedOutput
from qdeploy.quantize.lowerings.layer_weight import LayerWeight
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.multiplier import Multiplier, choose_multiplier
from qdeploy.quantize.recipe import SHORT_BITS, Recipe
from qdeploy.quantize.tensor_type import TensorType, with_power_of_two_scale
from qdeploy.runtime.errors import AccumulatorOverflowError

__all__ = ["ProductStage", "product_stage"]

_NO_ERROR = 2.0**-40
"""Relative: what float64 makes of a ratio that is a multiplier."""


@dataclass(frozen=True)
class ProductStage:
    """Constants of y = clip(round((W (x - x_zero_point) + bias) * multiplier / 2^shift) + y_zero_point, low, high).

    Attributes:
        bias, multiplier: names of the int32 tensors ``[N]``, and ``[1]`` or ``[N]``.
        shift: of the requantization.
        y: the type of the output.
        record: what the layer's record in the manifest says of it.
    """

    bias: str
    multiplier: str
    shift: int
    y: TensorType
    record: dict[str, object]

    def attributes(self, x: TensorType, output: BoundedOutput) -> dict[str, int]:
        """The attributes that every layer of products has."""
        low, high = output.integers(self.y)
        return {
            "x_zero_point": x.zero_point,
            "shift": self.shift,
            "y_zero_point": self.y.zero_point,
            "low": low,
            "high": high,
            "dtype": self.y.onnx_type,
        }


def product_stage(
    context: Context, node: onnx.NodeProto, weight: LayerWeight, x: TensorType, y: TensorType
) -> ProductStage:
    """Adds the bias and the multiplier of ``node`` to the graph.

    Args:
        y: the type that the output was given; a recipe of power-of-two multipliers moves its scale.

    Raises:
        AccumulatorOverflowError: an output whose accumulator could leave int32, named with its reach.
    """
    graph, recipe = context.integers, context.recipe
    if recipe.multiplier_bits == 1:
        # A power-of-two ratio needs an output scale that is one times the accumulator's.
        y = with_power_of_two_scale(y, x.scale * float(weight.scale.min()))
    scale = x.scale * np.broadcast_to(weight.scale, weight.outputs)
    integer_bias = np.rint(weight.bias / scale)
    reach = weight.row_sums() * x.reach + np.abs(integer_bias)
    if reach.max() >= 2**31:
        raise AccumulatorOverflowError(
            f"node {node.name}: the accumulator of output {int(reach.argmax())} could reach {reach.max():.3g}, more than int32 "
            "holds; use fewer weight or activation bits, or split the layer."
        )
    multiplier = _chosen(recipe, scale / y.scale, node.name)
    bias = graph.constant(f"{node.name}.bias", integer_bias.astype(np.int32), bits=32, scale=scale)
    name = _multiplier(context, node.name, multiplier.values, weight.repeats)
    record: dict[str, object] = {
        "accumulator_bits": accumulator_bits(int(reach.max())),
        "multiplier_error": multiplier.error,
    }
    return ProductStage(bias, name, multiplier.shift, y, record)


def _chosen(recipe: Recipe, ratios: NDArray[np.float64], where: str) -> Multiplier:
    """Of the recipe's bits; of few where the weights' scales were chosen for them, so that nothing is lost."""
    if recipe.short_multipliers:
        short = choose_multiplier(ratios, SHORT_BITS, where)
        if short.error < _NO_ERROR:
            return short
    return choose_multiplier(ratios, recipe.multiplier_bits, where)


def _multiplier(
    context: Context, name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.int32]], repeats: int
) -> str:
    """The multiplier's tensor. A quaternion layer's repeat four times: compact storage keeps them once."""
    graph = context.integers
    if graph.storage != "compact" or repeats == 1 or values.size == 1:
        return graph.constant(f"{name}.multiplier", values, bits=32)
    once = graph.constant(f"{name}.multiplier.once", values[: values.size // repeats], bits=32)
    repeated = f"{name}.multiplier"
    graph.nodes.append(onnx.helper.make_node("Concat", [once] * repeats, [repeated], name=repeated, axis=0))
    return repeated
