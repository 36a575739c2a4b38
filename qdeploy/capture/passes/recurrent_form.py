"""What ONNX RNN, GRU and LSTM share on their way to layers: attributes, weights, initial states and results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdeploy.runtime.errors import UnsupportedModelError

from .access import attribute_int, attribute_strings, constant, insert, is_zero, label, new_initializer, replace

__all__ = ["check_activations", "check_form", "constant_weights", "give_results", "one_direction"]


def check_form(node: ir.Node) -> None:
    """Refuses by name the forms of ``node``, an RNN, GRU or LSTM of one direction, that no layer has.

    Raises:
        UnsupportedModelError: clip, peepholes, input_forget = 1.
    """
    where = label(node)
    clip = node.attributes.get("clip")
    if clip is not None:
        raise UnsupportedModelError(
            f"{where}: clip={clip.as_float():g}, which bounds what the gates read, is not supported; export the layer "
            "without it (train without it where the sums pass it)"
        )
    if len(node.inputs) > 7 and not is_zero(node.inputs[7]):
        raise UnsupportedModelError(
            f"{where}: peepholes (input P, by which gates read the cell) are not supported; train the layer without them "
            "(use_peepholes=False)"
        )
    if attribute_int(node, "input_forget", 0):
        raise UnsupportedModelError(
            f"{where}: input_forget=1, one gate for what is kept and added, is not supported; train a layer with an input "
            "gate of its own, or a GRU, whose gate does both"
        )


def check_activations(node: ir.Node, expected: Sequence[str]) -> None:
    """Refuses other activations than ``expected``, in any case of letters.

    Raises:
        UnsupportedModelError: there are others, or another number of them.
    """
    names = attribute_strings(node, "activations")
    if names and [name.lower() for name in names] != [name.lower() for name in expected]:
        hard = " (recurrent_activation='sigmoid' in Keras)" if "hardsigmoid" in [name.lower() for name in names] else ""
        raise UnsupportedModelError(
            f"{label(node)}: activations {names} are not supported; expected {', '.join(expected)}; train the layer with "
            f"these{hard}"
        )


def constant_weights(node: ir.Node, gates: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """W ``[gates H, I]``, R ``[gates H, H]`` and B ``[2, gates H]``, which is zero where the node has none.

    Raises:
        UnsupportedModelError: the sequence or weights are missing, or the graph computes the weights.
    """
    arrays = []
    for index, name in ((0, "X"), (1, "W"), (2, "R"), (3, "B")):
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None and name != "B":
            raise UnsupportedModelError(f"{label(node)}: {name} is missing, expected the inputs X, W, R")
        if name == "X":
            continue
        array = constant(value)
        if array is None and value is not None:
            raise UnsupportedModelError(
                f"{label(node)}: {name} is computed by the graph, expected constant weights; export the trained model"
            )
        arrays.append(None if array is None else array.astype(np.float32))
    weights, recurrent, biases = arrays
    if weights is None or recurrent is None:
        raise AssertionError(f"{label(node)}: W and R are there")
    hidden = recurrent.shape[-1]
    halves = np.zeros((2, gates * hidden), np.float32) if biases is None else biases.reshape(2, gates * hidden)
    return weights[0], recurrent[0], halves


def one_direction(node: ir.Node, graph: ir.Graph, state: ir.Value | None, name: str) -> ir.Value:
    """An initial state ``[1, B, H]`` as ``[B, H]``; ``name`` is the layer's."""
    axes = new_initializer(graph, f"{name}.direction_axis", np.array([0], np.int64))
    return insert(node, "Squeeze", [state, axes]).outputs[0]


def give_results(node: ir.Node, graph: ir.Graph, results: Sequence[ir.Value], name: str) -> None:
    """Puts the layer's states ``[T, B, H]`` and its last ones ``[B, H]`` in place of those outputs that ``node`` has.

    ONNX has an axis of directions in Y ``[T, 1, B, H]`` and in Y_h and Y_c ``[1, B, H]``. ``node`` is removed.
    """
    for index, value in enumerate(results):
        if index < len(node.outputs) and node.outputs[index].name != "":
            axes = new_initializer(graph, f"{name}.direction_axis", np.array([0 if index else 1], np.int64))
            replace(node.outputs[index], insert(node, "Unsqueeze", [value, axes]).outputs[0])
    graph.remove(node, safe=True)
