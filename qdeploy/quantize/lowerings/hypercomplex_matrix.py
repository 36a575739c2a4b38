"""HypercomplexMatrix: the weights of layers over an algebra, stored as the algebra and its components."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.quantize.float_graph import attribute
from qdeploy.quantize.hypercomplex import Ends, QuantizedAlgebra, matrix_bits, quantize_algebra
from qdeploy.quantize.integer_graph import IntegerGraph
from qdeploy.quantize.lowerings.layer_weight import Layer, LayerWeight, real_weight, weight_source
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.recipe import Recipe
from qdeploy.quantize.weights import QuantizedWeight, check_finite, quantize_weight
from qdeploy.runtime.ops import OPERATORS, Node


@lowers("HypercomplexMatrix")
def hypercomplex_matrix(context: Context, node: onnx.NodeProto) -> None:
    """Nothing by itself: the layer that reads the matrix quantizes what it is made of."""
    del context, node


@weight_source("HypercomplexMatrix")
def _hypercomplex(layer: Layer, producer: onnx.NodeProto) -> LayerWeight:
    """The algebra ``[d, P, U]``, components ``[d, Q, V, *kernel]`` and factors, and the matrix that they make."""
    context = layer.context
    a, s = (context.floats.constant(producer, index, what) for index, what in enumerate(("algebra", "component")))
    check_finite(a, producer.input[0])
    check_finite(s, producer.input[1])
    real = context.floats.computed[producer.output[0]]
    orders = {name: str(attribute(producer, name, "blocked")) for name in ("grouping", "output_grouping")}
    adjacent = orders["output_grouping"] == "adjacent"
    p, q = a.shape[1], s.shape[1]
    ends = Ends(layer.x, layer.y, None)
    if layer.bias is not None:
        values = layer.bias.reshape((q, p) if adjacent else (p, q))
        ends = Ends(layer.x, layer.y, values.T if adjacent else values)
    quantized = quantize_algebra(a, s.reshape(*s.shape[:2], -1), layer.recipe, ends)
    if quantized.algebra.nbytes + s.size >= real.size:
        # The algebra takes more bytes than its components save.
        return real_weight(layer, producer.output[0], real)
    row_scale = quantized.components.scale
    if row_scale.size > 1 and (row_scale.reshape(-1, q) == row_scale[:q]).all():
        # One scale for row q of all components.
        row_scale = row_scale[:q]
    components = replace(quantized.components, integers=quantized.components.integers.reshape(s.shape), scale=row_scale)

    def of_rows(values: NDArray[Any]) -> NDArray[Any]:
        return values if values.ndim == 1 else (values.T if adjacent else values).reshape(-1)

    factors, scale = of_rows(quantized.factors), of_rows(quantized.scale)
    (matrix,) = OPERATORS["HypercomplexMatrix"].meaning(
        Node(producer.name), quantized.algebra, components.integers, factors, shift=quantized.shift, **orders
    )
    error = matrix * scale.reshape(-1, *[1] * (real.ndim - 1)) - real
    exact = quantized.copied and components.exact_grid
    bits = components.bits if quantized.copied else matrix_bits(layer.recipe)
    whole = QuantizedWeight(matrix, scale, bits, exact, 0.0 if exact else float(np.abs(error).max()))
    if context.integers.storage == "expanded":
        name = context.integers.weight(producer.output[0], whole)
    else:
        name = _written(context.integers, producer, quantized, components, factors, orders)
    blocks_of_bytes = 2 if components.bits <= 2 else 4 if components.bits <= 4 else 8
    record = {
        "parameters": s.size if quantized.copied else a.size + s.size,
        "hypercomplex": list(a.shape),
        "hypercomplex_copied": quantized.copied,
        "hypercomplex_bytes": quantized.algebra.nbytes + factors.nbytes + -(-s.size * blocks_of_bytes // 8),
        "matrix_bytes": int(matrix.size),
        "matrix_error": _relative(error, real),
        "direct_error": _direct_error(real, layer.recipe),
    }
    outputs = len(matrix)
    biases = np.zeros(outputs) if layer.bias is None else layer.bias.astype(np.float64)
    repeats = p if quantized.repeats and not adjacent else 1
    return LayerWeight(name, matrix, scale, components.bits, exact, whole.error, biases, repeats, record)


def _written(
    graph: IntegerGraph,
    producer: onnx.NodeProto,
    quantized: QuantizedAlgebra,
    components: QuantizedWeight,
    factors: NDArray[np.int16],
    orders: dict[str, str],
) -> str:
    """The name of the matrix that a node makes of the stored constants."""
    name = str(producer.output[0])
    if not any(made.output[0] == name for made in graph.nodes):
        inputs = [
            graph.constant(producer.input[0], quantized.algebra, bits=8 * quantized.algebra.itemsize),
            graph.weight(producer.input[1], components),
            graph.constant(f"{name}.factors", factors, bits=16),
        ]
        graph.node("HypercomplexMatrix", inputs, [name], producer.name, shift=quantized.shift, **orders)
    return name


def _relative(error: NDArray[np.float64], real: NDArray[np.float32]) -> float:
    """The root of the mean square of ``error`` against that of ``real``."""
    size = float(np.square(real, dtype=np.float64).sum())
    return float(np.sqrt(np.square(error).sum() / size)) if size else 0.0


def _direct_error(real: NDArray[np.float32], recipe: Recipe) -> float:
    """The same of the real matrix, quantized as that of an ordinary layer: what the compact form is compared with."""
    rows = real.reshape(len(real), -1)
    direct = quantize_weight(
        rows,
        recipe,
        "matrix",
        granularity=recipe.weight_granularity,
        power_of_two=recipe.multiplier_bits == 1,
    )
    return _relative(direct.integers * direct.scale.reshape(-1, 1) - rows, rows)
