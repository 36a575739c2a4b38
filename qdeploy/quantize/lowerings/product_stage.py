"""What stands behind the products of a layer: the bias in the accumulator, its proof, and the requantization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize import builtin_kernels
from qdeploy.quantize.asked_kernels import because_key, obstacle
from qdeploy.quantize.integer_graph import IntegerGraph, accumulator_bits
from qdeploy.quantize.lowerings.bounds import BoundedOutput
from qdeploy.quantize.lowerings.layer_weight import LayerWeight
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.multiplier import NO_ERROR, Multiplier, choose_multiplier
from qdeploy.quantize.recipe import SHORT_BITS, Recipe
from qdeploy.quantize.single_precision import exact_multiplier
from qdeploy.quantize.tensor_type import TensorType, with_power_of_two_scale
from qdeploy.runtime.errors import AccumulatorOverflowError, UnsupportedModelError
from qdeploy.runtime.rounding import HALF_EVEN

__all__ = ["ProductStage", "product_stage"]


@dataclass(frozen=True)
class ProductStage:
    """Constants of y = clip(round((W (x - x_zero_point) + bias) * multiplier / 2^shift) + y_zero_point, low, high).

    Attributes:
        bias, multiplier: names of the int32 tensors ``[N]``, and ``[1]`` or ``[N]``.
        shift: of the requantization.
        y: the type of the output.
        single_precision: whether the kernels in single precision that the recipe asks for compute this stage exactly.
        record: what the layer's record in the manifest says of it.
    """

    bias: str
    multiplier: str
    shift: int
    y: TensorType
    record: dict[str, object]
    single_precision: bool = False

    @property
    def rounding(self) -> dict[str, str]:
        """The attribute of that name where the stage has another rule than the contract's own."""
        return {"rounding": HALF_EVEN} if self.single_precision else {}

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
    context: Context,
    node: onnx.NodeProto,
    weight: LayerWeight,
    x: TensorType,
    y: TensorType,
    *,
    single_precision: bool = False,
) -> ProductStage:
    """Adds the bias and the multiplier of ``node`` to the graph.

    Args:
        y: the type that the output was given; a recipe of power-of-two multipliers moves its scale, and so do LiteRT's own
            kernels where the weights lie on a grid.
        single_precision: whether multipliers are wanted that are exact there; the stage says whether they are.

    Raises:
        AccumulatorOverflowError: an output whose accumulator could leave int32, named with its reach.
    """
    graph, recipe = context.integers, context.recipe
    factors = np.ones(weight.outputs) if weight.factor is None else np.abs(weight.factor)
    scale = x.scale * np.broadcast_to(weight.scale, weight.outputs)
    if recipe.multiplier_bits == 1:
        # A power-of-two ratio needs an output scale that is one times the accumulator's.
        y = with_power_of_two_scale(y, float((scale * factors).min()))
    elif single_precision and builtin_kernels.wanted(recipe) and weight.exact_grid and weight.scale.size == 1:
        y = builtin_kernels.for_grid(y, float(scale[0]))
    products = weight.row_sums() * x.reach
    short = exact_multiplier(scale * factors / y.scale, node.name) if single_precision else None
    if short is not None:
        multiplier = short
        integer_bias = np.rint(weight.bias / scale)
    elif weight.factor is None or recipe.multiplier_bits == 1:
        multiplier = _chosen(recipe, scale * factors / y.scale, node.name)
        integer_bias = np.rint(weight.bias / (scale * factors))
    else:
        multiplier = _with_factor(
            node.name, scale * weight.factor / y.scale, weight.bias / y.scale, products, y, recipe.multiplier_bits
        )
        integer_bias = np.rint(weight.bias / y.scale * 2.0**multiplier.shift / multiplier.values)
    reach = products + np.abs(integer_bias)
    if reach.max() >= 2**31:
        raise AccumulatorOverflowError(
            f"node {node.name}: the accumulator of output {int(reach.argmax())} could reach {reach.max():.3g}, more than int32 "
            "holds; use fewer weight or activation bits, or split the layer."
        )
    record: dict[str, object] = {
        "accumulator_bits": accumulator_bits(int(reach.max())),
        "multiplier_error": multiplier.error,
    }
    because = None
    if single_precision:
        because = obstacle(recipe, short, weight.integers, integer_bias.astype(np.int32), x)
        record |= {} if because is None else {because_key(recipe): because}
    bias = graph.constant(f"{node.name}.bias", integer_bias.astype(np.int32), bits=32, scale=scale)
    name = _multiplier(context, node.name, multiplier.values, weight.repeats)
    if weight.factor is not None:
        compact = graph.storage == "compact"
        alone = 1 if weight.scale.size == 1 else weight.outputs // (weight.repeats if compact else 1)
        kept = 1 if multiplier.values.size == 1 else len(_once(graph, node.name, multiplier.values, weight.repeats))
        record["batch_norm_bytes"] = 4 * max(0, kept - alone)
        if np.abs(multiplier.values).max() >= 2**recipe.multiplier_bits:
            record["multiplier_bits"] = 31
    exact = single_precision and because is None
    return ProductStage(bias, name, multiplier.shift, y, record, single_precision=exact)


def _chosen(recipe: Recipe, ratios: NDArray[np.float64], where: str) -> Multiplier:
    """Of the recipe's bits; of few where the weights' scales were chosen for them, so that nothing is lost."""
    if recipe.short_multipliers:
        short = choose_multiplier(ratios, SHORT_BITS, where)
        if short.error < NO_ERROR:
            return short
    return choose_multiplier(ratios, recipe.multiplier_bits, where)


NEAR_ENOUGH = 2.0**-9
"""Of the output's range: what multipliers of 15 bits may move an output by, at worst, before they get 31."""


def _with_factor(
    where: str,
    ratios: NDArray[np.float64],
    biases: NDArray[np.float64],
    products: NDArray[np.int64],
    y: TensorType,
    bits: int,
) -> Multiplier:
    """Multipliers ``[N]`` of any sign that hold a batch normalization's factors, and leave its constants room in int32.

    One shift serves all outputs, so that a factor far above the others leaves those few bits: where that is felt, multipliers
    get 31 bits. The constant stands in the accumulator, divided by the multiplier as it was rounded, so that it comes out
    exactly. A factor that is zero, or so small beside its constant that the accumulator could not hold the quotient, gets the
    smallest multiplier that lets it: what the products then add is at most their share of 2^30 times the constant.

    Args:
        where: the node, for errors.
        ratios: of the accumulator's step and the output's, times the factors.
        biases: in steps of the output.
        products: what the products of each output reach.
        y: the output's type.
        bits: of a multiplier, 15 or 31.
    """
    room = np.minimum(2**30, 2**31 - 1 - products)
    if room.min() <= 0:
        raise AccumulatorOverflowError(
            f"node {where}: the accumulator of output {int(room.argmin())} could reach {products.max():.3g}, more than int32 "
            "holds; use fewer weight or activation bits, or split the layer."
        )
    # Where weights are zeros the constant is all there is.
    sizes = np.where(products > 0, np.abs(ratios), 0.0)
    shift = choose_multiplier(float(sizes.max()) or 2.0**-20, bits, where).shift
    while True:
        exact = sizes * 2.0**shift
        values = np.maximum(np.maximum(np.floor(exact + 0.5), 1), np.ceil(np.abs(biases) * 2.0**shift / room))
        if values.max() < 2**bits:
            break
        shift -= 1
        if shift < 0:
            raise UnsupportedModelError(
                f"node {where}: its batch normalization adds a constant of {np.abs(biases).max():.3g} steps of the output, more "
                "than the accumulator holds. Check the calibration samples."
            )
    moved = float((np.abs(values - exact) * products).max()) / 2.0**shift / (y.high - y.low)
    if bits < 31 and moved > NEAR_ENOUGH:
        return _with_factor(where, ratios, biases, products, y, 31)
    # Of the largest: a small one's products add little, whatever its own error.
    error = float(np.abs(values - exact).max() / values.max())
    return Multiplier(np.where(ratios < 0, -values, values).astype(np.int32), shift, error)


def _multiplier(context: Context, name: str, values: NDArray[np.int32], repeats: int) -> str:
    """The multiplier's tensor. A quaternion layer's repeat four times: compact storage keeps them once."""
    graph = context.integers
    once = _once(graph, name, values, repeats)
    if once.size == values.size:
        return graph.constant(f"{name}.multiplier", values, bits=32)
    graph.constant(f"{name}.once", once, bits=32)
    graph.nodes.append(_repeating(name, repeats))
    return f"{name}.multiplier"


def _repeating(name: str, repeats: int) -> onnx.NodeProto:
    """What makes a layer's multipliers of those that its file keeps."""
    repeated = f"{name}.multiplier"
    return onnx.helper.make_node("Concat", [f"{name}.once"] * repeats, [repeated], name=repeated, axis=0)


def _once(graph: IntegerGraph, name: str, values: NDArray[np.int32], repeats: int) -> NDArray[np.int32]:
    """What of ``values`` the file keeps: all of them, too, where they take fewer bytes than the node that repeats them."""
    if graph.storage != "compact" or repeats == 1 or values.size == 1:
        return values
    first: NDArray[np.int32] = values[: values.size // repeats]
    if values.nbytes - first.nbytes <= _repeating(name, repeats).ByteSize():
        return values
    return first if (values == np.tile(first, repeats)).all() else values
