"""A recurrent layer's states and sums, from what was recorded of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from qdeploy.capture.functions import float_functions

Arrays = Mapping[str, NDArray[np.float32]]


def states_before(node: onnx.NodeProto, results: Arrays) -> NDArray[np.float32]:
    """h_{t-1} of all steps."""
    states = results[node.output[0]]
    initial = results.get(initial_state(node))
    first = np.zeros_like(states[:1]) if initial is None else initial[None]
    return np.concatenate([first, states[:-1]])


def initial_state(node: onnx.NodeProto) -> str:
    """The name of a recurrent node's initial state, empty where it is zero."""
    return _input_of(node, "h0")


def initial_cell_state(node: onnx.NodeProto) -> str:
    """The name of an LSTM's initial cell state, empty where it is zero."""
    return _input_of(node, "c0")


def _input_of(node: onnx.NodeProto, parameter: str) -> str:
    """What ``node`` gives its function as ``parameter``."""
    parameters = list(float_functions()[node.op_type, node.overload].input)
    place = parameters.index(parameter) if parameter in parameters else len(node.input)
    return str(node.input[place]) if place < len(node.input) else ""


def pre_activation(node: onnx.NodeProto, results: Arrays, weights: Arrays) -> NDArray[np.float32]:
    """W h_{t-1} + U x_t + b of all steps, from the recorded states."""
    x = results[node.input[0]]
    before = states_before(node, results)
    sums: NDArray[np.float32] = (
        before @ weights[node.input[2]].T + x @ weights[node.input[1]].T + weights[node.input[3]]
    )
    return sums


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without an overflow of the exponential."""
    result: NDArray[np.float32] = np.float32(0.5) + np.float32(0.5) * np.tanh(values * np.float32(0.5))
    return result


def text_attribute(node: onnx.NodeProto, name: str) -> str:
    """The node's text attribute, empty where it has none."""
    return next((a.s.decode() for a in node.attribute if a.name == name), "")
