"""AveragePool and GlobalAveragePool: a sum, and one multiplier that divides and changes the scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import onnx

from qdeploy.quantize.integer_graph import accumulator_bits
from qdeploy.quantize.lowerings.bounds import bounded_output
from qdeploy.quantize.lowerings.pool_windows import PoolWindow, pool_window
from qdeploy.quantize.lowerings.registry import Context, lowers
from qdeploy.quantize.multiplier import choose_multiplier
from qdeploy.quantize.tensor_type import with_power_of_two_scale
from qdeploy.runtime.errors import AccumulatorOverflowError


@lowers("AveragePool")
def average_pool(context: Context, node: onnx.NodeProto) -> None:
    """One multiplier where all windows count as many places, else one for each number of places."""
    window = pool_window(context, node)
    attributes = {"kernel": window.kernel, "strides": window.strides, "pads": window.pads, "counted": window.counted}
    _mean(context, node, counted_places(window), math.prod(window.kernel), attributes)


@lowers("GlobalAveragePool")
def global_average_pool(context: Context, node: onnx.NodeProto) -> None:
    """The image's size, which the network fixes, is in the multiplier."""
    places = math.prod(context.calibration[node.input[0]].sizes[2:])
    _mean(context, node, [places], places, {})


def counted_places(window: PoolWindow) -> list[int]:
    """All numbers of counted places that windows over the image have, rising."""
    rank = len(window.kernel)
    numbers = []
    for axis in range(rank):
        size, pads = window.sizes[axis], (window.pads[axis], window.pads[rank + axis])
        first = pads[0] - window.counted[axis]
        end = pads[0] + size + window.counted[rank + axis]
        starts = range(0, size + sum(pads) - window.kernel[axis] + 1, window.strides[axis])
        numbers.append({min(start + window.kernel[axis], end) - max(start, first) for start in starts})
    return sorted({math.prod(parts) for parts in itertools.product(*numbers)})


def _mean(
    context: Context, node: onnx.NodeProto, counts: Sequence[int], places: int, attributes: dict[str, list[int]]
) -> None:
    """The node: sums are of ``places`` numbers, some of them outside of the image, and are divided by one of ``counts``."""
    graph, x = context.integers, context.type_of(node.input[0])
    output = bounded_output(context, node.output[0])
    y = output.type
    reach = places * x.reach
    if reach >= 2**31:
        raise AccumulatorOverflowError(
            f"node {node.name}: the sum of {places} numbers could reach {reach:.3g}, more than int32 holds; pool in two steps."
        )
    if context.recipe.multiplier_bits == 1:
        # The ratio of the windows with the fewest places is one; those of others must be powers of two.
        y = with_power_of_two_scale(y, x.scale / counts[0])
    ratios = x.scale / (np.array(counts, np.float64) * y.scale)
    multiplier = choose_multiplier(ratios, context.recipe.multiplier_bits, node.name)
    values = multiplier.values
    if len(counts) > 1:
        # The place in the list is the number of places; numbers that no window has keep a one.
        values = np.ones(places, np.int32)
        values[np.array(counts) - 1] = multiplier.values
    name = f"{node.name}.multipliers" if attributes else f"{node.name}.multiplier"
    low, high = output.integers(y)
    graph.node(
        node.op_type,
        [node.input[0], graph.constant(name, values, bits=32)],
        [output.name],
        node.name,
        **attributes,
        x_zero_point=x.zero_point,
        shift=multiplier.shift,
        y_zero_point=y.zero_point,
        low=low,
        high=high,
        dtype=y.onnx_type,
    )
    graph.types[output.name] = y
    graph.layers.append(
        {
            "name": node.name,
            "operator": node.op_type,
            "activation_bits": x.bits,
            "accumulator_bits": accumulator_bits(reach),
            "multiplier_error": multiplier.error,
            **{key: attributes[key] for key in ("kernel", "strides") if key in attributes},
        }
    )
