"""Initial states that the network makes of an input of its own, by layout operators: one layer's part of a stack of states."""

from __future__ import annotations

import math

from qdeploy.calibration import initial_cell_state, initial_state
from qdeploy.quantize.float_graph import FloatGraph
from qdeploy.quantize.lowerings.registry import Context
from qdeploy.quantize.lowerings.rescale import rescale
from qdeploy.quantize.tensor_type import TensorType, state_type
from qdeploy.runtime.ops import RECURRENT

__all__ = ["feed_given_states", "given_state_type", "sources_of_states"]


def sources_of_states(floats: FloatGraph) -> dict[str, bool]:
    """Inputs of the network that serve as initial states: whether one is fed to a layer as it is, and so is its state."""
    found: dict[str, bool] = {}
    for node in floats.nodes:
        if node.op_type not in RECURRENT:
            continue
        for name in (initial_state(node), initial_cell_state(node)):
            source = floats.input_behind(name) if name else None
            if source is not None:
                found[source] = found.get(source, True) and source == name
    return found


def given_state_type(low: float, high: float, bits: int) -> TensorType:
    """The type of an input that holds initial states: the recipe's bits of states, and room beyond what was seen."""
    largest = max(-low, high)
    return state_type(2.0 ** math.ceil(math.log2(largest)) if largest > 0 else 1.0, bits, signed=True)


def feed_given_states(context: Context) -> bool:
    """Layers whose initial state is a part of an input read it at their own scale; it is no state of the network then.

    Returns:
        Whether there are such layers: the caller hands their states on, not the session.
    """
    graph = context.integers
    inputs = {value.name for value in context.floats.inputs}
    made = {name for node in graph.nodes for name in node.output}
    given = [state for state in graph.states if state.input in made and state.input not in inputs]
    for state in given:
        place = next(place for place, node in enumerate(graph.nodes) if state.output in node.output)
        node = graph.nodes[place]
        before = len(graph.nodes)
        name = rescale(context, state.input, state.type, f"{node.name}.{state.input}", clip=True)
        # What was added stands behind all nodes; its reader comes later than it.
        added = graph.nodes[before:]
        del graph.nodes[before:]
        graph.nodes[place:place] = added
        node.input[list(node.input).index(state.input)] = name
        graph.states.remove(state)
    return bool(given)
