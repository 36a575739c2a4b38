"""Inside FastRNN and FastGRNN."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.calibration.cells.registry import cell
from qdeploy.calibration.states import Arrays, states_before, text_attribute


@cell("FastRNN")
def fast_rnn(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> dict[str, NDArray[np.float32]]:
    """``candidate``: the sums before the activation; of low rank also ``factor``: what the first factor gives."""
    shared, inside = _shared(node, results, weights)
    return {**inside, "candidate": shared + weights[node.input[3]]}


@cell("FastGRNN")
def fast_grnn(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> dict[str, NDArray[np.float32]]:
    """``gates`` and ``candidate``: the sums before both activations; ``factor`` as of FastRNN."""
    shared, inside = _shared(node, results, weights)
    gate_bias, bias = np.split(weights[node.input[3]], 2)
    return {**inside, "gates": shared + gate_bias, "candidate": shared + bias}


def _shared(
    node: onnx.NodeProto, results: Arrays, weights: Arrays
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """W h_{t-1} + U x_t of all steps, and the part inside of a W of low rank."""
    held = states_before(node, results)
    inside = {}
    if text_attribute(node, "rank") == "low":
        held = inside["factor"] = held @ weights[node.input[5]].T
    shared: NDArray[np.float32] = held @ weights[node.input[2]].T + results[node.input[0]] @ weights[node.input[1]].T
    return shared, inside
