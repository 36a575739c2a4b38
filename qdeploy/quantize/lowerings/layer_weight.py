"""The weights of layers that multiply an activation by a matrix or a kernel: real ones, and those in a compact form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize import builtin_kernels
from qdeploy.quantize.float_graph import FACTOR_INPUT, NORM_PLACE, attribute
from qdeploy.quantize.grid import recognise_grid
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.multiplier import raised_to_multipliers
from qdeploy.quantize.recipe import SHORT_BITS, Recipe
from qdeploy.quantize.single_precision import few_bits
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.quantize.weights import (
    QuantizedWeight,
    check_finite,
    on_scale,
    powers_of_two,
    quantize_weight,
    room_for_bias,
    symmetric_scale,
)
from qdeploy.runtime.ops import OPERATORS, Node
from qdeploy.runtime.ops.qlinear_conv import accumulator_reach

__all__ = ["WEIGHT_SOURCES", "LayerWeight", "layer_weight", "real_weight", "weight_source"]


_ROUNDED_AGAIN = 2.0**-7


@dataclass(frozen=True)
class LayerWeight:
    """A layer's weight as the integer graph holds it.

    Attributes:
        name: the int8 tensor that the layer's node takes.
        integers: int8 ``[N, ...]``, rows are outputs; what the graph computes for ``name``.
        scale: float64 ``[1]`` or ``[N]``; weight = scale * integers.
        bits, exact_grid, error: as of ``QuantizedWeight``.
        bias: float64 ``[N]``, zeros where the layer has none.
        factor: float64 ``[N]`` of a batch normalization that stays out of the weights, y = factor (W x) + bias, or None.
        repeats: how often the scales of N / repeats outputs repeat, one after the other: 4 for quaternions, else 1.
        record: what the layer's record in the manifest says of it.
    """

    name: str
    integers: NDArray[np.int8]
    scale: NDArray[np.float64]
    bits: int
    exact_grid: bool
    error: float
    bias: NDArray[np.float64]
    repeats: int
    record: dict[str, Any]
    factor: NDArray[np.float64] | None = None

    @property
    def outputs(self) -> int:
        """N."""
        return int(self.integers.shape[0])

    def row_sums(self) -> NDArray[np.int64]:
        """The sum of absolute integers of every row ``[N]``: times the largest input it bounds the accumulator."""
        sums: NDArray[np.int64] = np.abs(self.integers.astype(np.int64)).reshape(self.outputs, -1).sum(axis=1)
        return sums


@dataclass(frozen=True)
class Layer:
    """Where a weight is quantized for: the layer's input and output types, its bias, its recipe.

    Attributes:
        bias: float ``[N]`` or ``None``.
        single_precision: whether its multipliers shall be exact in single precision (``single_precision.py``).
    """

    context: Context
    x: TensorType
    y: TensorType
    bias: NDArray[np.float32] | None
    single_precision: bool = False

    @property
    def recipe(self) -> Recipe:
        """The recipe of the export."""
        return self.context.recipe


WeightSource = Callable[[Layer, onnx.NodeProto], LayerWeight]
WEIGHT_SOURCES: dict[str, WeightSource] = {}


def weight_source(operator: str) -> Callable[[WeightSource], WeightSource]:
    """Registers how the matrix that a float ``operator`` makes of constants is quantized."""

    def register(source: WeightSource) -> WeightSource:
        WEIGHT_SOURCES[operator] = source
        return source

    return register


def layer_weight(
    context: Context, node: onnx.NodeProto, x: TensorType, y: TensorType, *, single_precision: bool = False
) -> LayerWeight:
    """Quantizes the weight of ``node`` (its second input, with the bias as its third) and adds it to the graph.

    One scale per tensor or per output (per output quaternion); a weight that lies on a grid stays there; rows whose bias
    needs it get a coarser scale, see ``room_for_bias``. Where a batch normalization gave the layer factors (its fourth input),
    the multipliers make room for the bias instead.

    Raises:
        InvalidInputError: weights that are not finite.
        UnsupportedModelError: weights that the graph computes in a way without integer form.
    """
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = context.floats.constant(node, 2, "bias") if has_bias else None
    if bias is not None:
        check_finite(bias, node.input[2])
    if len(node.input) > FACTOR_INPUT:
        factor = context.floats.constant(node, FACTOR_INPUT, "factor").astype(np.float64)
        weight = _quantized(Layer(context, x, y, None), node)
        weight = replace(weight, factor=factor, bias=np.zeros(len(factor)) if bias is None else bias.astype(np.float64))
    else:
        weight = _quantized(Layer(context, x, y, bias, single_precision=single_precision), node)
    place = attribute(node, NORM_PLACE)
    if place is None:
        return weight
    record = {**weight.record, "batch_norm": place}
    # What factors in the multipliers cost, the stage behind the products counts.
    if weight.factor is None:
        record["batch_norm_bytes"] = 0
    if place == "expanded":
        stored = 2 if weight.bits <= 2 else 4 if weight.bits <= 4 else 8
        record["batch_norm_bytes"] = weight.integers.size * stored // 8 * 3 // 4
    return replace(weight, record=record)


def _quantized(layer: Layer, node: onnx.NodeProto) -> LayerWeight:
    context = layer.context
    producer = context.floats.producers.get(node.input[1])
    if producer is not None and producer.op_type in WEIGHT_SOURCES:
        return WEIGHT_SOURCES[producer.op_type](layer, producer)
    return real_weight(layer, node.input[1], context.floats.constant(node, 1, "weight"))


def real_weight(layer: Layer, name: str, real: NDArray[np.float32]) -> LayerWeight:
    """A weight ``[N, ...]`` that is stored as it is, by the name of its tensor."""
    rows = _rows(real)
    weight = quantize_weight(
        rows,
        layer.recipe,
        name,
        granularity=layer.recipe.weight_granularity,
        power_of_two=layer.recipe.multiplier_bits == 1,
    )
    biases = None if layer.bias is None else np.abs(layer.bias)
    weight = _with_short_multipliers(layer, weight, rows, _reach(layer, weight.integers), biases)
    if layer.bias is not None:
        weight = room_for_bias(weight, rows, layer.bias, layer.x, layer.y, layer.recipe.multiplier_bits)
    weight = replace(weight, integers=weight.integers.reshape(real.shape))
    return _whole(
        layer, layer.context.integers.weight(name, weight), weight, repeats=1, record={"parameters": real.size}
    )


@weight_source("HamiltonMatrix")
def _hamilton(layer: Layer, producer: onnx.NodeProto) -> LayerWeight:
    """Components ``[m, n, ...]`` with one scale per output quaternion, and the matrix that they make."""
    graph, recipe = layer.context.integers, layer.recipe
    components = [layer.context.floats.constant(producer, index, "component") for index in range(4)]
    for name, component in zip(producer.input, components, strict=True):
        check_finite(component, name)
    shape = components[0].shape
    outputs = shape[0]
    stacked = np.concatenate([_rows(component) for component in components])
    quantized = _quantize_components(stacked, recipe)
    biases = None if layer.bias is None else np.abs(layer.bias.reshape(4, outputs)).max(axis=0)
    tiled = None if biases is None else np.tile(biases, 4)
    grouping = str(attribute(producer, "grouping", "blocked"))
    matrix = _hamilton_matrix(producer.name, quantized.integers, shape, grouping)
    # A quaternion's four outputs share their scale.
    reach = np.tile(_reach(layer, matrix).reshape(4, outputs).max(axis=0), 4)
    quantized = _with_short_multipliers(layer, quantized, stacked, reach, tiled)
    scale = quantized.scale
    if biases is not None:
        side_by_side = replace(quantized, integers=_beside(quantized.integers), scale=scale[:outputs])
        roomy = room_for_bias(side_by_side, _beside(stacked), biases, layer.x, layer.y, recipe.multiplier_bits)
        if roomy is not side_by_side:
            quantized = replace(roomy, integers=np.concatenate(np.split(roomy.integers, 4, axis=1)))
            scale = roomy.scale if roomy.scale.size == 1 else np.tile(roomy.scale, 4)
    parts = [part.reshape(shape) for part in np.split(quantized.integers, 4)]
    matrix = _hamilton_matrix(producer.name, quantized.integers, shape, grouping)
    whole = QuantizedWeight(matrix, scale, quantized.bits, quantized.exact_grid, quantized.error)
    record = {"parameters": stacked.size, "quaternion": True, "grouping": grouping}
    if graph.storage == "expanded":
        return _whole(layer, graph.weight(producer.output[0], whole), whole, repeats=4, record=record)
    if not any(made.output[0] == producer.output[0] for made in graph.nodes):
        names = _component_tensors(layer, producer, parts, replace(quantized, scale=scale))
        graph.node("HamiltonMatrix", names, [producer.output[0]], producer.name, grouping=grouping)
    return _whole(layer, producer.output[0], whole, repeats=4, record=record)


def _component_tensors(
    layer: Layer, producer: onnx.NodeProto, parts: list[NDArray[np.int8]], quantized: QuantizedWeight
) -> list[str]:
    """Adds the components and returns the names of their tensors: one for all, or four where something else reads one of them.

    Args:
        parts: of integers, r, i, j and k.
        quantized: their scales ``[1]`` or ``[4 m]``, and bits.
    """
    graph = layer.context.integers
    if all(len(layer.context.floats.readers(name)) == 1 for name in producer.input):
        name = f"{producer.output[0].removesuffix('.matrix')}.rijk"
        return [graph.weight(name, replace(quantized, integers=np.concatenate(parts), error=0.0))]
    row_scales = quantized.scale if quantized.scale.size == 1 else quantized.scale[: len(parts[0])]
    return [
        graph.weight(name, replace(quantized, integers=part, scale=row_scales, error=0.0))
        for name, part in zip(producer.input, parts, strict=True)
    ]


def _quantize_components(stacked: NDArray[np.float32], recipe: Recipe) -> QuantizedWeight:
    """Components one above the other ``[4 m, K]``, on their grid or with the scales of m quaternions, four times."""
    grid = recognise_grid(stacked) if recipe.recognise_grid else None
    if grid is not None and grid.integers.min() > -128:
        return QuantizedWeight(grid.integers, np.array([grid.step]), grid.bits, True, 0.0)
    rows = stacked.shape[0] // 4
    largest = np.abs(stacked.astype(np.float64)).reshape(4, rows, -1).max(axis=(0, 2))
    if recipe.weight_granularity == "per_tensor":
        largest = largest.max(keepdims=True).repeat(rows)
    row_scale = symmetric_scale(largest, recipe.weight_bits)
    if recipe.multiplier_bits == 1:
        row_scale = powers_of_two(row_scale)
    return on_scale(stacked, np.tile(row_scale, 4), recipe.weight_bits)


def _with_short_multipliers(
    layer: Layer,
    weight: QuantizedWeight,
    real: NDArray[np.float32],
    reach: NDArray[np.int64],
    biases: NDArray[np.float32] | None,
) -> QuantizedWeight:
    """The weight with scales that multipliers of few bits say exactly, where the recipe wants such and no grid fixes them.

    Args:
        reach: of the accumulator, without its bias, of an output that each row of ``real`` goes to.
        biases: the largest absolute bias of those outputs.
    """
    if weight.exact_grid or layer.recipe.multiplier_bits == 1:
        # Powers of two are exact as they are.
        return weight
    ratio = layer.x.scale / layer.y.scale
    if layer.single_precision:
        whole = reach.astype(np.float64)
        if biases is not None:
            whole += biases / (layer.x.scale * weight.scale)
        if weight.scale.size == 1:
            whole = whole.max(keepdims=True)
        # Rounded again at a coarser scale, weights may add up to a little more.
        whole *= 1 + _ROUNDED_AGAIN
        ratios = weight.scale * ratio
        if builtin_kernels.wanted(layer.recipe):
            whole = np.minimum(whole, builtin_kernels.saturating(ratios))
        return on_scale(real, few_bits(ratios, whole) / ratio, weight.bits)
    if not layer.recipe.short_multipliers:
        return weight
    return on_scale(real, raised_to_multipliers(weight.scale * ratio, SHORT_BITS) / ratio, weight.bits)


def _whole(layer: Layer, name: str, weight: QuantizedWeight, *, repeats: int, record: dict[str, Any]) -> LayerWeight:
    outputs = weight.integers.shape[0]
    bias = np.zeros(outputs) if layer.bias is None else layer.bias.astype(np.float64)
    return LayerWeight(
        name, weight.integers, weight.scale, weight.bits, weight.exact_grid, weight.error, bias, repeats, record
    )


def _rows(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[N, ...]`` as ``[N, K]``."""
    return weight.reshape(weight.shape[0], math.prod(weight.shape[1:]))


def _reach(layer: Layer, weight: NDArray[np.int8]) -> NDArray[np.int64]:
    """The largest product of each row with what the layer reads."""
    return accumulator_reach(weight, np.zeros(len(weight), np.int64), layer.x.zero_point)


def _hamilton_matrix(name: str, stacked: NDArray[np.int8], shape: tuple[int, ...], grouping: str) -> NDArray[np.int8]:
    """The matrix of components one above the other, each of this shape."""
    parts = [part.reshape(shape) for part in np.split(stacked, 4)]
    (matrix,) = OPERATORS["HamiltonMatrix"].meaning(Node(name), *parts, grouping=grouping)
    return matrix


def _beside(stacked: NDArray[Any]) -> NDArray[Any]:
    """Components ``[4 * rows, K]`` as ``[rows, 4 * K]``: a row for each quaternion."""
    return np.concatenate(np.split(stacked, 4), axis=1)
