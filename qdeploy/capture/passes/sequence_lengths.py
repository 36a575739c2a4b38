"""``sequence_lens`` of ONNX RNN, GRU and LSTM: full lengths are dropped, others are refused."""

from __future__ import annotations

import onnx_ir as ir

from qdeploy.runtime.errors import UnsupportedModelError

from .access import attribute_int, constant, label

__all__ = ["drop_full_lengths"]

_OPERATORS = ("RNN", "GRU", "LSTM")
_LENGTHS = 4

# What repeats one number for every sequence, or changes its type or rank: exporters bring the number of steps here so.
_REPEATING = frozenset({"Cast", "Expand", "Identity", "Reshape", "Squeeze", "Tile", "Unsqueeze"})


def drop_full_lengths(model: ir.Model) -> None:
    """Removes the input sequence_lens where every sequence has provably all the steps of X: it changes nothing then.

    That is: a constant that equals the fixed number of steps of X, or what is made of X's own shape.

    Requires: shapes are inferred, and constants are folded.

    Ensures: no RNN, GRU or LSTM operator has sequence_lens.

    Raises:
        UnsupportedModelError: other lengths: a layer of integers runs over every step of what it is given.
    """
    for node in list(model.graph):
        if node.domain != "" or node.op_type not in _OPERATORS or len(node.inputs) <= _LENGTHS:
            continue
        lengths, sequence = node.inputs[_LENGTHS], node.inputs[0]
        if lengths is None:
            continue
        if sequence is None or not (_equals_steps(lengths, sequence) or _reads_steps(lengths, sequence)):
            array = constant(lengths)
            found = "it is computed by the graph or an input" if array is None else f"found {array.tolist()[:8]}"
            raise UnsupportedModelError(
                f"{label(node)}: sequence_lens ({lengths.name}) is not supported but for all steps of every sequence; "
                f"{found}; export without packed sequences and run sequences of equal length together"
            )
        node.replace_input_with(_LENGTHS, None)


def _equals_steps(lengths: ir.Value, sequence: ir.Value) -> bool:
    """Whether ``lengths`` is constant, and each is the number of steps that the file fixes for ``sequence``."""
    array = constant(lengths)
    if array is None or sequence.shape is None or len(sequence.shape) == 0:
        return False
    steps = sequence.shape[0]
    return isinstance(steps, int) and bool((array == steps).all())


def _reads_steps(value: ir.Value, sequence: ir.Value) -> bool:
    """Whether ``value`` is the first dimension of ``sequence``, as often as one likes."""
    node = value.producer()
    if node is None or node.domain != "" or node.inputs[0] is None:
        return False
    if node.op_type in _REPEATING:
        return _reads_steps(node.inputs[0], sequence)
    if node.op_type == "Shape":
        bounds = attribute_int(node, "start", 0), attribute_int(node, "end", 0)
        return node.inputs[0] is sequence and bounds == (0, 1)
    shape = node.inputs[0].producer()
    if shape is None or shape.domain != "" or shape.op_type != "Shape" or shape.inputs[0] is not sequence:
        return False
    if attribute_int(shape, "start", 0) != 0:
        return False
    numbers = [constant(one) for one in node.inputs[1:]]
    if any(number is None or number.size != 1 for number in numbers):
        return False
    places = [int(number.reshape(-1)[0]) for number in numbers if number is not None]
    if node.op_type == "Gather":
        return places == [0]
    # Slice: starts, ends, and what it may have of axes and steps.
    return node.op_type == "Slice" and places in ([0, 1], [0, 1, 0], [0, 1, 0, 1])
