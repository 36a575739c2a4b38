"""The two states of an LSTM, whichever of its operators holds them: their types, and what the network does with them."""

from __future__ import annotations

import math

import onnx

from qdeploy.quantize.integer_graph import State
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.tensor_type import TensorType
from qdeploy.runtime.ops.lstm import CELL_HIGH, CELL_LOW

__all__ = ["add_states", "cell_type", "every_state", "power_of_two_state"]

SMALLEST_CELL_BITS = 15
"""Fractional bits at most: at a finer scale the candidate, which reaches to 1, would not fit 16 bits."""


def power_of_two_state(free: TensorType) -> TensorType:
    """The hidden state's type over the next power of two that covers the range; the scale is that over the number of levels."""
    levels = free.high - free.zero_point
    exponent = math.ceil(math.log2(free.scale * levels) - 1e-9)
    return TensorType(free.dtype, 2.0**exponent / (levels + 1), free.zero_point, free.bits, free.low, free.high)


def cell_type(largest: float) -> TensorType:
    """16 bits, at the finest power of two that covers ``largest`` and the candidate."""
    exponent = math.ceil(math.log2(largest / CELL_HIGH)) if largest > 0 else -SMALLEST_CELL_BITS
    return TensorType("int16", 2.0 ** max(-SMALLEST_CELL_BITS, exponent), 0, 16, CELL_LOW, CELL_HIGH)


def every_state(context: Context, node: onnx.NodeProto) -> str:
    """The name of all hidden states, empty where nobody reads them."""
    name = str(node.output[0])
    wanted = name and (context.floats.readers(name) or name in context.floats.outputs)
    return name if wanted else ""


def add_states(
    context: Context,
    node: onnx.NodeProto,
    kinds: tuple[TensorType, TensorType],
    given: tuple[str, str],
    taken: tuple[str, str],
    hidden: int,
) -> None:
    """Makes both states inputs and outputs of the network.

    Args:
        context: of the lowering.
        node: the float layer.
        kinds: the types of hidden and cell state.
        given, taken: their names before the first step and after the last.
        hidden: H.
    """
    graph, floats = context.integers, context.floats
    if node.output[0]:
        graph.types[node.output[0]] = kinds[0]
    for place, (given_name, taken_name, kind) in enumerate(zip(given, taken, kinds, strict=True), 1):
        graph.types[taken_name] = kind
        graph.states.append(State(given_name, taken_name, kind, hidden))
        last = node.output[place] if len(node.output) > place else ""
        if last:
            graph.types[last] = kind
        if last != taken_name and (floats.readers(last) or last in floats.outputs):
            graph.nodes.append(onnx.helper.make_node("Identity", [taken_name], [last], name=f"{last}.identity"))
