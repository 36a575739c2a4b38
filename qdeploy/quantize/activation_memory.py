"""How many bytes of activations a network needs at once, for one sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qdeploy.calibration import Calibration
from qdeploy.quantize.integer_graph import IntegerGraph

__all__ = ["activation_bytes"]

_WIDTH = {"uint8": 1, "int16": 2, "int32": 4}
_SAME_MEMORY = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Operators whose result is their input, seen otherwise."""


def activation_bytes(
    graph: IntegerGraph, calibration: Calibration, inputs: Sequence[str], outputs: Sequence[str]
) -> int | None:
    """The most bytes of tensors between layers that are alive together: read now or later, or written now.

    What a runtime needs inside of a layer (accumulators, rows of a convolution) is its own and not counted.

    Returns:
        ``None`` for a network without images, and for one with states, whose activations depend on the number of steps.
    """
    images = any(len(calibration.tensors[name].sizes) > 2 for name in graph.types if name in calibration.tensors)
    if graph.states or not images:
        return None
    sizes: dict[str, int] = {}
    memory: dict[str, str] = {}
    last: dict[str, int] = {}
    for name in inputs:
        sizes[name] = _bytes(graph, calibration, name)
        memory[name] = name
    for place, node in enumerate(graph.nodes):
        read = [memory[name] for name in node.input if name in memory]
        if not read:
            continue
        for name in node.output:
            alias = node.domain == "" and node.op_type in _SAME_MEMORY
            memory[name] = read[0] if alias else name
            if not alias:
                sizes[name] = _bytes(graph, calibration, name) or sizes[read[0]]
        last.update(dict.fromkeys([*read, *(memory[name] for name in node.output)], place))
    last.update({memory[name]: len(graph.nodes) for name in outputs if name in memory})
    peak, alive = 0, {name: sizes[name] for name in inputs}
    for place, node in enumerate(graph.nodes):
        alive.update({memory[name]: sizes[memory[name]] for name in node.output if name in memory})
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > place}
    return peak


def _bytes(graph: IntegerGraph, calibration: Calibration, name: str) -> int:
    """Of one sample; 0 where calibration saw no such tensor."""
    found, seen = graph.types.get(name), calibration.tensors.get(name)
    if found is None or seen is None or not seen.sizes:
        return 0
    return _WIDTH.get(found.dtype, 4) * math.prod(seen.sizes[1:])
