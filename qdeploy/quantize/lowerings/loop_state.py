"""The state of a recurrent layer as input and output of the network."""

from __future__ import annotations

import onnx

from qdeploy.quantize.integer_graph import State
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.tensor_type import TensorType


def wanted_states(context: Context, node: onnx.NodeProto) -> str:
    """The name of every state ``[T, B, H]`` where anything reads it, else nothing: the body then keeps the last one only."""
    every = node.output[0]
    return every if every and (context.floats.readers(every) or every in context.floats.outputs) else ""


def hand_over_state(
    context: Context, node: onnx.NodeProto, names: tuple[str, str], state: TensorType, hidden: int
) -> None:
    """Types of a layer's results, and its state among those of the network; the last state also under its float name.

    Args:
        names: the graph's state input and output, from ``state_tensors``.
    """
    graph = context.integers
    state_in, state_out = names
    if node.output[0]:
        graph.types[node.output[0]] = state
    graph.types[state_out] = state
    last = node.output[1] if len(node.output) > 1 else ""
    if last:
        graph.types[last] = state
        if last != state_out:
            graph.nodes.append(onnx.helper.make_node("Identity", [state_out], [last], name=f"{node.name}.last"))
    graph.states.append(State(state_in, state_out, state, hidden))
